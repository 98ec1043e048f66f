import * as oauth from 'oauth4webapi';
import type { ClientAuthentication, TokenService } from '../destination/token-service.ts';
import { Failure } from '../failure.ts';
import { connectionError, createFetch, retrying } from '../http.ts';
import { clientAuthentications } from './client-authentication.ts';
import { ANSWER_LIMIT, LONGEST_LIFETIME_S, TOKEN_LIMIT, UNKNOWN_LIFETIME_S } from './limits.ts';
import { withoutSecrets } from './without-secrets.ts';

/** What a token service issued. */
export interface IssuedTokens {
  accessToken: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
  refreshToken?: string;
}

/** A refusal that the token service gave for the grant itself (RFC 6749 section 5.2, invalid_grant): the code or refresh token is no good. */
export class InvalidGrant extends Failure {}

/** RFC 8628 section 3.5: the person has not consented yet. */
export class AuthorizationPending extends Failure {}

/** ... and is to be asked for less often. */
export class SlowDown extends AuthorizationPending {}

export interface ClientOptions {
  /** Not used with a client certificate: then there is one of its own, which trusts `ca`. */
  fetch?: typeof fetch;
  /** PEM text of every CA that is trusted. Absent: the system's. */
  ca?: string;
}

/** Requests at one destination's token service. */
export class TokenClient {
  readonly #service: TokenService;
  readonly #endpoint: URL;
  readonly #fetch: typeof fetch;
  /** Which of several ways the token service took. */
  #way = 0;

  constructor(service: TokenService, endpoint: URL, options: ClientOptions = {}) {
    this.#service = service;
    this.#endpoint = endpoint;
    this.#fetch = fetchFor(service.authentication, options);
  }

  /** RFC 6749 section 4.4. */
  clientCredentials(): Promise<IssuedTokens> {
    return this.#issue('client_credentials', this.#scope());
  }

  /** RFC 6749 section 6. */
  refresh(refreshToken: string): Promise<IssuedTokens> {
    return this.#issue('refresh_token', { refresh_token: refreshToken, ...this.#scope() });
  }

  /** RFC 6749 section 4.1.3, RFC 7636 section 4.5. The scope was asked for together with the code. */
  redeem(code: string, redirectUri?: string, codeVerifier?: string): Promise<IssuedTokens> {
    return this.#issue('authorization_code', {
      code,
      ...(redirectUri !== undefined && { redirect_uri: redirectUri }),
      ...(codeVerifier !== undefined && { code_verifier: codeVerifier }),
    });
  }

  /** RFC 8628 section 3.4. */
  redeemDevice(deviceCode: string): Promise<IssuedTokens> {
    return this.#issue('urn:ietf:params:oauth:grant-type:device_code', { device_code: deviceCode });
  }

  /** RFC 8628 section 3.1. */
  async authorizeDevice(endpoint: string): Promise<oauth.DeviceAuthorizationResponse> {
    const server = { ...this.#server(), device_authorization_endpoint: endpoint };
    return await this.#tried('any', [], async (authentication, options) =>
      oauth.processDeviceAuthorizationResponse(
        server,
        this.#client(),
        await oauth.deviceAuthorizationRequest(server, this.#client(), authentication, this.#scope(), options),
      ),
    );
  }

  #scope(): Record<string, string> {
    return this.#service.scope === undefined ? {} : { scope: this.#service.scope };
  }

  #server(): oauth.AuthorizationServer {
    return { issuer: this.#endpoint.origin, token_endpoint: this.#endpoint.href };
  }

  #client(): oauth.Client {
    return { client_id: this.#service.clientId };
  }

  async #issue(grant: string, parameters: Record<string, string>): Promise<IssuedTokens> {
    // Only client credentials may be asked for twice: a code or a rotating refresh token is used up by the first request.
    const after = grant === 'client_credentials' ? 'any' : 'unsent';
    const { scope: _, ...secrets } = parameters;
    const answer = await this.#tried(after, Object.values(secrets), async (authentication, options) =>
      oauth.processGenericTokenEndpointResponse(
        this.#server(),
        this.#client(),
        await oauth.genericTokenEndpointRequest(
          this.#server(),
          this.#client(),
          authentication,
          grant,
          { ...this.#service.body, ...parameters },
          options,
        ),
      ),
    );
    return checked(answer);
  }

  async #tried<T>(
    after: 'any' | 'unsent',
    secrets: string[],
    ask: (authentication: oauth.ClientAuth, options: Options) => Promise<T>,
  ): Promise<T> {
    const ways = await clientAuthentications(this.#service.authentication, this.#endpoint.href);
    for (let index = Math.min(this.#way, ways.length - 1); ; index++) {
      const way = ways[index];
      if (!way) throw new Failure('internal', 'no way to authenticate');
      try {
        const answer = await ask(way, this.#options(after));
        this.#way = index;
        return answer;
      } catch (error) {
        // A client that was not recognised has used nothing up, so the other way may be tried.
        if (!isInvalidClient(error) || index + 1 >= ways.length)
          throw told(error, this.#endpoint.host, [...secrets, ...secretsOf(this.#service)]);
      }
    }
  }

  #options(after: 'any' | 'unsent'): Options {
    const once = retrying(this.#fetch, { after });
    return {
      headers: this.#service.headers,
      [oauth.customFetch]: async (url, options) => plain(await once(url, options as RequestInit)),
      [oauth.allowInsecureRequests]: this.#endpoint.protocol === 'http:',
    };
  }
}

type Options = oauth.HttpRequestOptions<'POST', URLSearchParams>;

function fetchFor(way: ClientAuthentication, options: ClientOptions): typeof fetch {
  const trust = options.ca === undefined ? {} : { ca: options.ca };
  if (way.kind === 'tls') return createFetch({ ...trust, cert: way.certificate, key: way.key });
  return options.fetch ?? createFetch(trust);
}

/**
 * The answer as the library is to see it: of a bounded size, without the ID token (nobody here reads it, and its issuer need not be the token
 * service's host), and without a challenge, which would hide the error code in the body.
 */
async function plain(response: Response): Promise<Response> {
  const body = withoutIdToken(await boundedText(response));
  const headers = new Headers(response.headers);
  for (const name of ['www-authenticate', 'content-encoding', 'content-length']) headers.delete(name);
  return new Response(body, { status: response.status, headers });
}

/**
 * An answer's body.
 * @throws Failure token where it has more octets than ANSWER_LIMIT
 */
export async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_LIMIT) throw new Failure('token', `the answer has more than ${ANSWER_LIMIT} octets`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function withoutIdToken(text: string): string {
  try {
    const { id_token: _, ...rest } = Object(JSON.parse(text)) as Record<string, unknown>;
    return JSON.stringify(rest);
  } catch {
    return text;
  }
}

function checked({
  access_token: accessToken,
  expires_in: lifetime,
  refresh_token: refreshToken,
  token_type: type,
}: oauth.TokenEndpointResponse): IssuedTokens {
  if (type !== 'bearer') throw new Failure('token', 'the token service issued a token that is no bearer token');
  if (!/^[\x21-\x7e]+$/.test(accessToken) || accessToken.length > TOKEN_LIMIT) {
    throw new Failure('token', `the access token must be printable ASCII of at most ${TOKEN_LIMIT} octets`);
  }
  const seconds = lifetime !== undefined && Number.isFinite(lifetime) ? lifetime : UNKNOWN_LIFETIME_S;
  return {
    accessToken,
    expiresAt: Date.now() + Math.min(seconds, LONGEST_LIFETIME_S) * 1000,
    ...(refreshToken !== undefined && { refreshToken }),
  };
}

function isInvalidClient(error: unknown): boolean {
  return error instanceof oauth.ResponseBodyError && error.error === 'invalid_client';
}

/** Errors that go away by themselves: RFC 6749 section 4.1.2.1. */
const PASSING = ['temporarily_unavailable', 'server_error'];

/** RFC 6749 section 5.2, RFC 8628 section 3.5. */
const REGISTERED = [
  ...['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type'],
  ...['invalid_scope', 'access_denied', 'expired_token', 'authorization_pending', 'slow_down', ...PASSING],
];

/** Other codes of providers are words of letters with underscores, too; what else stands there may be anything, a secret too. */
function errorCode(text: string, secrets: string[]): string {
  const known = REGISTERED.includes(text) || (/^[a-z_]{1,60}$/i.test(text) && withoutSecrets(text, secrets) === text);
  return known ? text : 'unknown error';
}

/**
 * A Failure without a cause: the library's errors carry the request's answer, and with it perhaps a token. Of the server's own text only its
 * error code, for a free text may repeat what was sent.
 */
function told(error: unknown, host: string, secrets: string[]): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof oauth.ResponseBodyError) {
    const code = errorCode(error.error, secrets);
    const text = `${code}: the token service ${host} refused the request${hint(error)}`;
    if (code === 'invalid_grant') return new InvalidGrant('token', text, { retry: false });
    if (code === 'authorization_pending') return new AuthorizationPending('token', text);
    if (code === 'slow_down') return new SlowDown('token', text);
    return new Failure('token', text, { retry: PASSING.includes(code) || error.status >= 500 });
  }
  const code = connectionError(error);
  if (code) return new Failure('token', `the token service ${host} cannot be reached (${code})`);
  return new Failure('token', `the token service ${host} gave an answer that is no token`);
}

/** What every request may carry. */
function secretsOf({ authentication: way, body }: TokenService): string[] {
  const own = way.kind === 'secret' ? [way.secret] : way.kind === 'basic' ? [way.password] : [];
  return [...own, ...Object.values(body)];
}

/** Microsoft's numbers of errors say what its error codes don't; they are numbers, so they repeat nothing. */
function hint({ error_description: text }: oauth.ResponseBodyError): string {
  const number = /AADSTS\d{4,8}/.exec(text ?? '')?.[0];
  return number ? ` (${number})` : '';
}
