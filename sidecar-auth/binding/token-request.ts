import { isIP } from 'node:net';
import * as oauth from 'oauth4webapi';
import { Failure } from '../failure.ts';
import { connectionError, Outage, secureUrl } from '../http.ts';
import type { AccessToken } from '../token/issuer.ts';
import { LONGEST_LIFETIME_S, UNKNOWN_LIFETIME_S } from '../token/limits.ts';
import { boundedText } from '../token/request.ts';
import type { Binding } from './binding.ts';
import { TOKEN_LIMIT } from './limits.ts';

/**
 * Client credentials grant (RFC 6749 section 4.4) at `<url>/oauth/token`, for the provider or a subscriber (its
 * subdomain). Throws a Failure of code `token` without a cause: the library's errors carry the answer, and with it
 * perhaps a token.
 * @param fetch one that shows the binding's certificate, where it has one (RFC 8705 section 2.1)
 */
export async function requestToken(
  binding: Binding,
  tenant: string | undefined,
  fetch: typeof globalThis.fetch,
): Promise<AccessToken> {
  const endpoint = tokenEndpoint(binding, tenant);
  try {
    const { access_token: value, expires_in: lifetime } = await grant(endpoint, binding, fetch);
    const seconds = Math.min(lifetime ?? UNKNOWN_LIFETIME_S, LONGEST_LIFETIME_S);
    return { value: checkedToken(value), expiresAt: Date.now() + seconds * 1000 };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw told(endpoint, error);
  }
}

async function grant(
  endpoint: URL,
  binding: Binding,
  fetch: typeof globalThis.fetch,
): Promise<oauth.TokenEndpointResponse> {
  const server = { issuer: endpoint.origin, token_endpoint: endpoint.href };
  const client = { client_id: binding.clientid };
  // The secret in the body, not in a header: XSUAA does not decode the form encoding that RFC 6749 section 2.3.1
  // demands there, and its client ids have `!` and `|` in them.
  const authentication =
    binding.clientsecret === undefined ? oauth.TlsClientAuth() : oauth.ClientSecretPost(binding.clientsecret);
  const response = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    authentication,
    {},
    {
      [oauth.customFetch]: async (url, options) => await bounded(await fetch(url, options as RequestInit)),
      [oauth.allowInsecureRequests]: endpoint.protocol === 'http:',
    },
  );
  return await oauth.processClientCredentialsResponse(server, client, response);
}

/** The answer, of a bounded size. Its length and coding are those of the wire, which the text read has no more. */
async function bounded(response: Response): Promise<Response> {
  const text = await boundedText(response);
  const headers = new Headers(response.headers);
  for (const name of ['content-encoding', 'content-length']) headers.delete(name);
  return new Response(text, { status: response.status, headers });
}

function tokenEndpoint(binding: Binding, tenant: string | undefined): URL {
  const url = secureUrl(`${binding.url.replace(/\/+$/, '')}/oauth/token`);
  if (!url) throw unusable('must be an https address without credentials');
  if (tenant !== undefined && tenant !== binding.identityzone) url.hostname = subscriberHost(url.hostname, tenant);
  return url;
}

/**
 * SAP, "Multitenancy in the Destination Service": the token comes from https://{subscriber
 * subdomain}.authentication.{region host}/oauth/token.
 */
function subscriberHost(host: string, tenant: string): string {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(tenant))
    throw new Failure('token', 'the tenant is not a subdomain', { retry: false });
  const labels = host.split('.');
  if (isIP(host.replace(/^\[(.*)\]$/, '$1')) || labels.length < 2)
    throw unusable('has no subdomain to put the tenant in');
  return [tenant, ...labels.slice(1)].join('.');
}

/** A token as it can stand in a header. Throws a Failure. */
export function checkedToken(value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value))
    throw new Failure('token', 'the token is not printable ASCII without spaces', { retry: false });
  if (value.length > TOKEN_LIMIT)
    throw new Failure('token', `the token is longer than ${TOKEN_LIMIT} octets`, { retry: false });
  return value;
}

/** Codes only: what a server says about a login in free text may repeat it. */
function told(endpoint: URL, error: unknown): Failure {
  const service = `the token service ${endpoint.host}`;
  const way = connectionError(error);
  if (way !== undefined) return new Outage('token', `${service} cannot be reached (${way})`);
  const status = statusOf(error);
  if (status >= 500 || status === 429) return new Outage('token', `${service} has a fault (${status})`);
  if (status >= 400 && !isRouters(status, error))
    return new Failure('token', `${service} refused the request${codeOf(error)} (${status})`, { retry: false });
  return new Outage('token', `${service} gave an answer that is no token${status > 0 ? ` (${status})` : ''}`);
}

/** Registered codes are words; what else stands there may be anything, a secret too. */
function codeOf(error: unknown): string {
  return error instanceof oauth.ResponseBodyError && /^[a-z_]{1,60}$/.test(error.error) ? `: ${error.error}` : '';
}

/** Cloud Foundry's router says so in place of a service that is being started. A token service's errors have a code. */
function isRouters(status: number, error: unknown): boolean {
  return status === 404 && !(error instanceof oauth.ResponseBodyError);
}

/** Of the answer that the library could not use; 0 where there was none. */
function statusOf(error: unknown): number {
  // XSUAA's challenge beside a refusal is an error of its own kind.
  if (error instanceof oauth.ResponseBodyError || error instanceof oauth.WWWAuthenticateChallengeError)
    return error.status;
  const { cause } = error as { cause?: { status?: unknown } };
  return typeof cause?.status === 'number' ? cause.status : 0;
}

function unusable(what: string): Failure {
  return new Failure('token', `the url of the service binding ${what}`, { retry: false });
}
