import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readPemText, readSecret, readText, requiredSecret, SECRET as TEXT } from '../config/document.ts';
import { hasForbiddenOctet, type Section } from '../config/section.ts';

/** How Postern proves to the token service who it is. Keys and certificates are PEM. */
export type ClientAuthentication =
  /** A public client (RFC 6749 section 2.1): `client_id` only. */
  | { kind: 'none' }
  /** `in`: client_secret_post, client_secret_basic, or whichever the token service takes. */
  | { kind: 'secret'; secret: string; in: 'body' | 'header' | 'either' }
  /** tokenServiceUser and tokenServicePassword, in the Authorization header. */
  | { kind: 'basic'; user: string; password: string }
  /** RFC 7523 section 2.2. `certificate` only for its thumbprint in the assertion's header. */
  | { kind: 'private_key_jwt'; key: string; keyId?: string; certificate?: string; audience?: string }
  /** RFC 8705 section 2. */
  | { kind: 'tls'; certificate: string; key: string }
  /** A keystore or an assertion that lies in the Destination service, and can be used only by it. */
  | { kind: 'destination_service' };

/** What the OAuth flows of one destination need. */
export interface TokenService {
  /** tokenServiceURL, with its placeholder {tenant} still in it. */
  url: string;
  /** tokenServiceURLType: whether the tenant becomes part of the URL. */
  urlType: 'Dedicated' | 'Common';
  clientId: string;
  authentication: ClientAuthentication;
  /** Separated by spaces. */
  scope?: string;
  /** tokenService.body.*, tokenServiceURL.headers.* and tokenServiceURL.queries.*: sent along with each token request. */
  body: Record<string, string>;
  headers: Record<string, string>;
  queries: Record<string, string>;
  /** refreshTokenFile's content: stands in for an app that brings nothing. */
  refreshToken?: string;
  /** X-redirect-uri and X-code-verifier of the destination; those of the listener win. */
  redirectUri?: string;
  codeVerifier?: string;
  /** For `postern login`: where a person consents, with its placeholder {tenant} still in it. */
  authorizationURL?: string;
  deviceAuthorizationURL?: string;
  /** OpenID Connect Discovery: tells both. */
  issuer?: string;
}

/** Octets of a refresh token: the contract's limit of what an app may present. */
const TOKEN_LIMIT = 16_384;

/**
 * @param files gets the files that were read; absent: the destination comes from the Destination service, and no file of this machine
 *   is read for it
 */
export function readTokenService(section: Section, files: string[] | undefined): TokenService | undefined {
  const urlType = section.choice('tokenServiceURLType', ['Dedicated', 'Common'] as const) ?? 'Dedicated';
  const url = readUrl(section, 'tokenServiceURL', urlType, files !== undefined);
  const clientId = section.required('clientId', TEXT);
  const authentication = readAuthentication(section, files);
  const scope = section.text('scope');
  const refreshToken = files && readRefreshToken(section, files);
  const login = files && readLoginUrls(section, urlType);
  const redirectUri = section.text('X-redirect-uri');
  const codeVerifier = section.text('X-code-verifier');
  const body = withPrefix(section, 'tokenService.body.');
  const headers = withPrefix(section, 'tokenServiceURL.headers.');
  const queries = withPrefix(section, 'tokenServiceURL.queries.');
  if (url === undefined || clientId === undefined || authentication === undefined) return undefined;
  return {
    url,
    urlType,
    clientId,
    authentication,
    ...(scope !== undefined && { scope }),
    body,
    headers,
    queries,
    ...(refreshToken !== undefined && { refreshToken }),
    ...(redirectUri !== undefined && { redirectUri }),
    ...(codeVerifier !== undefined && { codeVerifier }),
    ...login,
  };
}

/** @param isOurs false: it comes from the Destination service, which uses it itself and may reach hosts that we don't */
function readUrl(section: Section, key: string, type: TokenService['urlType'], isOurs: boolean): string | undefined {
  if (!isOurs) return section.text(key) ?? '';
  const text = section.required(key, URL_FORM);
  if (text === undefined) return undefined;
  if (type === 'Dedicated' && text.includes('{tenant}'))
    return section.mistake(key, 'must not have {tenant} in it, unless tokenServiceURLType is Common');
  return isSafeUrl(text.replaceAll('{tenant}', 'tenant')) ? text : section.mistake(key, `must be ${URL_FORM}`);
}

const URL_FORM = 'an https URL without a password in it (http only on this machine)';

/** Secrets and tokens travel to it. Plain HTTP is for tests and demos on this machine. */
export function isSafeUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || url.username || url.password) return false;
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && loopback);
}

function readLoginUrls(
  section: Section,
  type: TokenService['urlType'],
): Pick<TokenService, 'authorizationURL' | 'deviceAuthorizationURL' | 'issuer'> {
  const keys = ['authorizationURL', 'deviceAuthorizationURL', 'issuer'] as const;
  const found = keys.flatMap((key) => (section.has(key) ? [[key, readUrl(section, key, type, true)] as const] : []));
  return Object.fromEntries(found.filter(([, url]) => url !== undefined));
}

function withPrefix(section: Section, prefix: string): Record<string, string> {
  const keys = section.keys.filter((key) => key.startsWith(prefix) && key.length > prefix.length);
  return Object.fromEntries(keys.map((key) => [key.slice(prefix.length), section.text(key) ?? '']));
}

function readAuthentication(section: Section, files: string[] | undefined): ClientAuthentication | undefined {
  if (!files) return ofService(section);
  const given = WAYS.filter((keys) => keys.some((key) => section.has(key)));
  const [first, second] = given;
  // SAP's example of tokenServiceUser has clientSecret beside it.
  if (first && second && first !== BASIC) {
    section.mistake(second.find((key) => section.has(key)) ?? '', `must not stand beside ${first[0]}`);
  }
  if (first === BASIC) return readBasic(section, files);
  if (first === ASSERTION) return readAssertion(section, files);
  if (first === KEYSTORE) return readKeyStore(section, files);
  return first === SECRET ? readClientSecret(section, files) : { kind: 'none' };
}

const BASIC = ['tokenServiceUser'];
const SECRET = ['clientSecret', 'clientSecretFile'];
const ASSERTION = ['clientAssertion.keyFile'];
const KEYSTORE = ['tokenService.KeyStoreLocation'];
const WAYS = [BASIC, SECRET, ASSERTION, KEYSTORE];

function ofService(section: Section): ClientAuthentication {
  const user = section.text('tokenServiceUser');
  const password = section.text('tokenServicePassword');
  if (user !== undefined && password !== undefined) return { kind: 'basic', user, password };
  const secret = section.text('clientSecret');
  return secret === undefined ? { kind: 'destination_service' } : { kind: 'secret', secret, in: place(section) };
}

/** SAP's default is the body. Where nobody has chosen, a token service that wants the header gets it, too. */
function place(section: Section): 'body' | 'header' | 'either' {
  const inBody = section.flag('tokenService.addClientCredentialsInBody');
  if (inBody === undefined) return 'either';
  return inBody ? 'body' : 'header';
}

function readBasic(section: Section, files: string[]): ClientAuthentication | undefined {
  const user = section.required('tokenServiceUser', TEXT);
  const password = requiredSecret(section, 'tokenServicePassword', files);
  return user === undefined || password === undefined ? undefined : { kind: 'basic', user, password };
}

function readClientSecret(section: Section, files: string[]): ClientAuthentication | undefined {
  const secret = readSecret(section, 'clientSecret', files);
  return secret === undefined ? undefined : { kind: 'secret', secret, in: place(section) };
}

function readAssertion(section: Section, files: string[]): ClientAuthentication | undefined {
  const key = readPem(section, 'clientAssertion.keyFile', files, privateKey);
  const certificate = section.has('clientAssertion.certificateFile')
    ? readPem(section, 'clientAssertion.certificateFile', files, certificates)
    : undefined;
  const keyId = section.text('clientAssertion.keyId');
  const audience = section.text('clientAssertion.audience');
  if (key === undefined) return undefined;
  return {
    kind: 'private_key_jwt',
    key,
    ...(keyId !== undefined && { keyId }),
    ...(certificate !== undefined && { certificate }),
    ...(audience !== undefined && { audience }),
  };
}

/** SAP's keystore of the kind PEM: the certificate, its chain, and the private key in one file. */
function readKeyStore(section: Section, files: string[]): ClientAuthentication | undefined {
  const key = 'tokenService.KeyStoreLocation';
  const password = section.has('tokenService.KeyStorePassword')
    ? readSecret(section, 'tokenService.KeyStorePassword', files)
    : undefined;
  const found = readPem(section, key, files, (pem) => ({
    key: privateKey(pem, password),
    certificate: certificates(pem),
  }));
  return found && { kind: 'tls', ...found };
}

/** @param parse throws where it is not what is wanted; its own text is dropped, for it may quote the file */
function readPem<T>(section: Section, key: string, files: string[], parse: (pem: string) => T): T | undefined {
  const file = section.path(key);
  if (file === undefined) return undefined;
  files.push(file);
  const text = readPemText(file, (what) => section.mistake(key, what));
  try {
    return text === undefined ? undefined : parse(text);
  } catch {
    return section.mistake(key, 'must be a PEM file with what its name says, and open with the password given');
  }
}

function privateKey(pem: string, passphrase?: string): string {
  const block = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/.exec(pem)?.[0] ?? '';
  const key = createPrivateKey({ key: block, ...(passphrase !== undefined && { passphrase }) });
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function certificates(pem: string): string {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  new X509Certificate(blocks[0] ?? '');
  return blocks.join('\n');
}

function readRefreshToken(section: Section, files: string[]): string | undefined {
  const key = 'refreshTokenFile';
  const file = section.path(key);
  if (file === undefined) return undefined;
  files.push(file);
  const token = readText(file, (what) => section.mistake(key, what))?.replace(/\r?\n$/, '');
  if (token === undefined) return undefined;
  if (hasForbiddenOctet(token)) return section.mistake(key, 'must not contain CR, LF, NUL or \\x01');
  return token !== '' && token.length <= TOKEN_LIMIT
    ? token
    : section.mistake(key, `must have 1 to ${TOKEN_LIMIT} octets`);
}
