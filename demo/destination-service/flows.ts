import type { IncomingHttpHeaders } from 'node:http';
import type { Properties } from './accounts.ts';
import { refuse } from './refusal.ts';

/** One element of `authTokens`. */
export type AuthToken = Record<string, unknown>;

export interface FlowOptions {
  /**
   * For token services behind the Cloud Connector: "virtual-host:port" to the real one. Nothing else resolves these
   * names.
   */
  onPremise?: Record<string, { host: string; port: number }>;
}

/** The token request's parameters, or undefined where the destination has no OAuth flow that this simulator knows. */
function grantOf(properties: Properties, headers: IncomingHttpHeaders): Record<string, string> | undefined {
  switch (properties.Authentication) {
    case 'OAuth2ClientCredentials':
      return { grant_type: 'client_credentials', ...scope(properties) };
    case 'OAuth2RefreshToken':
      return {
        grant_type: 'refresh_token',
        refresh_token: mandatory(headers, 'x-refresh-token'),
        ...scope(properties),
      };
    case 'OAuth2AuthorizationCode':
      return {
        grant_type: 'authorization_code',
        code: mandatory(headers, 'x-code'),
        ...given('redirect_uri', headers['x-redirect-uri']),
        ...given('code_verifier', headers['x-code-verifier']),
      };
    default:
      return undefined;
  }
}

/**
 * Automatic token retrieval. A failure of the token service is told in `error`; undefined where there is nothing to
 * retrieve.
 */
export async function authTokens(
  properties: Properties,
  headers: IncomingHttpHeaders,
  options: FlowOptions,
): Promise<AuthToken[] | undefined> {
  const grant = grantOf(properties, headers);
  if (!grant) return basic(properties);
  try {
    return [await retrieved(properties, grant, headers, options)];
  } catch (error) {
    return [failedToken((error as Error).message)];
  }
}

/** "the value of both type and value is an empty string". */
export function failedToken(error: string): AuthToken {
  return { type: '', value: '', error };
}

async function retrieved(
  properties: Properties,
  grant: Record<string, string>,
  headers: IncomingHttpHeaders,
  options: FlowOptions,
): Promise<AuthToken> {
  const url = address(properties, headers, options);
  const request = tokenRequest(properties, grant);
  const response = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    ...request,
    signal: AbortSignal.timeout(10_000),
  }).catch(() => {
    throw new Error('Retrieval of OAuthToken failed due to: token service cannot be reached');
  });
  const text = await response.text();
  if (!response.ok)
    throw new Error(`Retrieval of OAuthToken failed due to: status ${response.status}, response was: ${text}`);
  return toAuthToken(JSON.parse(text));
}

function toAuthToken({
  access_token: value,
  expires_in: seconds,
  scope,
  refresh_token: refreshToken,
}: Record<string, unknown>): AuthToken {
  return {
    type: 'Bearer',
    value,
    http_header: { key: 'Authorization', value: `Bearer ${value}` },
    ...(seconds !== undefined && { expires_in: `${seconds}` }),
    ...(scope !== undefined && { scope }),
    ...(refreshToken !== undefined && { refresh_token: refreshToken }),
  };
}

/** tokenServiceURL with the tenant in it, its queries, and behind the Cloud Connector its real place. */
function address(properties: Properties, headers: IncomingHttpHeaders, { onPremise = {} }: FlowOptions): URL {
  const url = new URL(withTenant(properties, headers['x-tenant']));
  for (const [key, value] of prefixed(properties, 'tokenServiceURL.queries.')) url.searchParams.set(key, value);
  if ((properties['tokenServiceURL.ProxyType'] ?? properties.ProxyType) !== 'OnPremise') return url;
  const real = onPremise[`${url.hostname}:${url.port || '80'}`];
  if (!real)
    throw new Error('Retrieval of OAuthToken failed due to: the Cloud Connector does not expose the token service');
  url.hostname = real.host;
  url.port = `${real.port}`;
  return url;
}

function withTenant(properties: Properties, tenant: unknown): string {
  const { tokenServiceURL: url = '', tokenServiceURLType: type } = properties;
  if (type !== 'Common') return url;
  if (typeof tenant !== 'string') throw new Error('X-tenant header is missing, which tokenServiceURLType Common needs');
  return url.includes('{tenant}') ? url.replaceAll('{tenant}', tenant) : url.replace('://', `://${tenant}.`);
}

/** Client id and secret go into the body unless the destination says otherwise ("Default is true"). */
function tokenRequest(
  properties: Properties,
  grant: Record<string, string>,
): { headers: Headers; body: URLSearchParams } {
  const { clientId = '', clientSecret } = properties;
  const headers = new Headers(prefixed(properties, 'tokenServiceURL.headers.'));
  const body = new URLSearchParams({ ...Object.fromEntries(prefixed(properties, 'tokenService.body.')), ...grant });
  if (clientSecret !== undefined && properties['tokenService.addClientCredentialsInBody'] === 'false') {
    const login = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`;
    headers.set('authorization', `Basic ${Buffer.from(login).toString('base64')}`);
  } else {
    body.set('client_id', clientId);
    if (clientSecret !== undefined) body.set('client_secret', clientSecret);
  }
  return { headers, body };
}

function prefixed(properties: Properties, prefix: string): [string, string][] {
  return Object.entries(properties).flatMap(([key, value]): [string, string][] =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
  );
}

function basic({
  Type: type,
  Authentication: authentication,
  User: user,
  Password: password,
}: Properties): AuthToken[] | undefined {
  if (type !== 'HTTP' || authentication !== 'BasicAuthentication') return undefined;
  const value = Buffer.from(`${user}:${password}`).toString('base64');
  return [{ type: 'Basic', value, http_header: { key: 'Authorization', value: `Basic ${value}` } }];
}

function scope(properties: Properties): Record<string, string> {
  return given('scope', properties.scope);
}

function given(key: string, value: unknown): Record<string, string> {
  return typeof value === 'string' ? { [key]: value } : {};
}

function mandatory(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  if (typeof value !== 'string' || value === '') throw refuse(400, `Mandatory header ${name} is missing`);
  return value;
}
