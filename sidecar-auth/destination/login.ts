import { readUser, requiredSecret, SECRET } from '../config/document.ts';
import type { Section } from '../config/section.ts';
import { missing, propertyKey } from './keys.ts';
import { nearest } from './nearest.ts';
import { readTokenService, type TokenService } from './token-service.ts';
import type { Transport } from './transport.ts';

export type Grant = 'client_credentials' | 'refresh_token' | 'authorization_code';

/** How Postern logs in at the mail server. */
export type Login =
  | { kind: 'none' }
  | { kind: 'basic'; user: string; password: string }
  /** `user` is there for client_credentials; for the others it is the user of an app that brings nothing. */
  | { kind: 'oauth'; user?: string; grant: Grant; token: TokenService };

const GRANTS: Record<string, Grant> = {
  OAuth2ClientCredentials: 'client_credentials',
  OAuth2RefreshToken: 'refresh_token',
  OAuth2AuthorizationCode: 'authorization_code',
};

const AUTHENTICATIONS = ['BasicAuthentication', 'NoAuthentication', ...Object.keys(GRANTS)];

/**
 * @param transport absent: it is not known, which is a mistake already
 * @param files as of readTokenService
 */
export function readLogin(
  section: Section,
  transport: Transport | undefined,
  files: string[] | undefined,
): Login | undefined {
  const authKey = transport
    ? propertyKey(section, transport, 'auth')
    : section.keys.find((key) => /^mail\.\w+\.auth$/.test(key));
  const auth = authKey === undefined ? undefined : section.flag(authKey);
  const kind = section.choice('Authentication', AUTHENTICATIONS);
  if (auth === false) return { kind: 'none' };
  if (kind === undefined) {
    missing(section, 'Authentication', AUTHENTICATIONS.join(', '));
    readAs(section, guess(section), files);
    return undefined;
  }
  if (kind === 'NoAuthentication') {
    return auth ? section.mistake(authKey ?? '', 'must not be true with NoAuthentication') : { kind: 'none' };
  }
  return readAs(section, kind, files);
}

function readAs(section: Section, kind: string | undefined, files: string[] | undefined): Login | undefined {
  const grant = GRANTS[kind ?? ''];
  if (grant) return readOAuth(section, grant, files);
  return kind === 'BasicAuthentication' ? readBasic(section, files) : undefined;
}

/** What is meant where `Authentication` is missing or wrong, so that the mistakes in its other properties are told at once, too. */
function guess(section: Section): string | undefined {
  const said = section.raw('Authentication');
  const near = said === '' ? undefined : nearest(said, AUTHENTICATIONS);
  if (near) return near;
  if (/^oauth/i.test(said) || section.has('clientId') || section.has('tokenServiceURL')) return 'OAuth2RefreshToken';
  const basic =
    /^basic/i.test(said) || ['mail.user', 'mail.password', 'mail.passwordFile'].some((key) => section.has(key));
  return basic ? 'BasicAuthentication' : undefined;
}

function readBasic(section: Section, files: string[] | undefined): Login | undefined {
  const user = readUser(section, 'mail.user');
  // Who may write a destination in the Destination service may not read this machine's files by it.
  if (!files && section.has('mail.passwordFile'))
    return section.mistake('mail.passwordFile', 'is for destination files');
  const password = requiredSecret(section, 'mail.password', files ?? []);
  return user === undefined || password === undefined ? undefined : { kind: 'basic', user, password };
}

const OTHER_WAYS = 'clientSecretFile, clientAssertion.keyFile, tokenService.KeyStoreLocation, tokenServiceUser';

function readOAuth(section: Section, grant: Grant, files: string[] | undefined): Login | undefined {
  const needsUser = grant === 'client_credentials' || section.has('refreshTokenFile');
  const user = needsUser || section.has('mail.user') ? readUser(section, 'mail.user') : undefined;
  const token = readTokenService(section, files);
  if (grant === 'client_credentials' && token?.authentication.kind === 'none') {
    section.mistake('clientSecret', `is missing; it must be ${SECRET}, or one of ${OTHER_WAYS} must be there`);
  }
  if (grant !== 'refresh_token' && token?.refreshToken !== undefined) {
    section.mistake('refreshTokenFile', 'is for OAuth2RefreshToken');
  }
  if (!token || (needsUser && user === undefined)) return undefined;
  return { kind: 'oauth', ...(user !== undefined && { user }), grant, token };
}
