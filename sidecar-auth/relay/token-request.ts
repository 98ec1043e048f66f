import * as oauth from 'oauth4webapi';
import { clean, Failure } from '../failure.ts';
import type { Binding } from './binding.ts';
import { TOKEN_REQUEST_MS, TOKEN_UNKNOWN_LIFETIME_S } from './limits.ts';

export interface IssuedToken {
  token: string;
  /** Seconds from now. */
  lifetime: number;
}

/**
 * Client credentials grant (RFC 6749 section 4.4) at `<url>/oauth/token`. Throws a Failure of code `token` without a cause:
 * the library's errors carry the answer, and with it perhaps a token.
 */
export async function requestToken(binding: Binding): Promise<IssuedToken> {
  const endpoint = tokenEndpoint(binding.url);
  try {
    const { access_token: token, expires_in: lifetime } = await grant(endpoint, binding);
    return { token, lifetime: lifetime ?? TOKEN_UNKNOWN_LIFETIME_S };
  } catch (error) {
    throw new Failure('token', `the token service ${endpoint.host} ${reason(error)}`);
  }
}

async function grant(endpoint: URL, binding: Binding): Promise<oauth.TokenEndpointResponse> {
  const server = { issuer: endpoint.origin, token_endpoint: endpoint.href };
  const client = { client_id: binding.clientid };
  // In the body, not in a header: XSUAA does not decode the form encoding that RFC 6749 section 2.3.1 demands there, and
  // its client ids have `!` and `|` in them.
  const authentication = oauth.ClientSecretPost(binding.clientsecret);
  const response = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    authentication,
    {},
    {
      signal: AbortSignal.timeout(TOKEN_REQUEST_MS),
      [oauth.allowInsecureRequests]: endpoint.protocol === 'http:',
    },
  );
  return await oauth.processClientCredentialsResponse(server, client, response);
}

/** Plain HTTP is for tests and demos on this machine: the client secret travels in the request. */
function tokenEndpoint(base: string): URL {
  const url = URL.parse(`${base.replace(/\/+$/, '')}/oauth/token`);
  if (!url || url.username || url.password) throw unusable('is not a URL without credentials');
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) throw unusable('must be https');
  return url;
}

/** Codes only: what a server says about a login in free text may repeat it. */
function reason(error: unknown): string {
  if (error instanceof oauth.ResponseBodyError)
    return `refused the request: ${clean(error.error, 60)} (${error.status})`;
  const { name, cause } = error as Error;
  if (name === 'TimeoutError') return `did not answer within ${TOKEN_REQUEST_MS} ms`;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? `cannot be reached (${code})` : 'gave an answer that is no token';
}

function unusable(what: string): Failure {
  return new Failure('token', `the url of the service binding ${what}`, { retry: false });
}
