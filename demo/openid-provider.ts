import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Client, type JWKS, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { SCOPE, settings } from './openid-provider/settings.ts';
import { Storages } from './openid-provider/storage.ts';
import { type IssuedToken, type RefusedRequest, type TokenCheck, Witness } from './openid-provider/witness.ts';

export { SCOPE } from './openid-provider/settings.ts';
export { type IssuedToken, type RefusedRequest, type TokenCheck, tokenId } from './openid-provider/witness.ts';

export interface OpenIdClient {
  id: string;
  /** client_secret_basic and client_secret_post. Without `secret` and `jwks` the client is public and must use PKCE. */
  secret?: string;
  /** private_key_jwt (RFC 7523). */
  jwks?: JWKS;
  /** What its tokens are for: an absolute URI (RFC 8707), used where a request names no resource. */
  audience: string;
  /** May use client_credentials, and then acts for this user's mailbox. */
  user?: string;
  /** May act for users who consent: authorization code, device code, refresh token. */
  redirectUris?: string[];
}

export interface OpenIdProviderOptions {
  clients: OpenIdClient[];
  /** Who may ask about tokens, each about those of its own audience. */
  resourceServers: { id: string; secret: string; audience: string }[];
  /** Accounts that exist. The first is the one that consents where a request has no `login_hint`. */
  users: string[];
  /** Lifetimes in seconds: access tokens (3,600), refresh tokens (a day), authorization and device codes (600). */
  ttl?: { accessToken?: number; refreshToken?: number; code?: number };
  /** Whether a refresh token works once and comes back as another (true). The second use then ends the whole grant. */
  rotate?: boolean;
  /** Length of opaque tokens and codes (43); those of large providers have 1,000 to 4,000. */
  tokenOctets?: number;
  /** On 127.0.0.1; default: any free one. */
  port?: number;
}

/** A grant of one user to one client, without a browser. */
export interface Consent {
  client: string;
  user: string;
}

export interface OpenIdProvider {
  /** `http://127.0.0.1:PORT`; its metadata are at /.well-known/openid-configuration (RFC 8414). */
  issuer: string;
  authorizationEndpoint: string;
  tokenEndpoint: string;
  deviceAuthorizationEndpoint: string;
  revocationEndpoint: string;
  /** For a resource server: with its id and secret in the URL, as Dovecot wants it. */
  introspectionUrl(resourceServer: string): string;
  /** Access tokens that the token endpoint issued, requests that it refused, and checks by resource servers. */
  log: IssuedToken[];
  refusals: RefusedRequest[];
  checks: TokenCheck[];
  /** As a consent in the browser leads to. `redirectUri`: default the client's first; `codeChallenge`: S256 (RFC 7636). */
  authorizationCode(consent: Consent & { redirectUri?: string; codeChallenge?: string }): Promise<string>;
  refreshToken(consent: Consent): Promise<string>;
  /** For tests of resource servers: issued without a request, so it is not in `log`. `seconds`: its lifetime. */
  accessToken(consent: Consent & { seconds?: number }): Promise<string>;
  /** Says yes to a code that `postern login` shows. */
  approveDevice(userCode: string, user: string): Promise<void>;
  /** Revokes all access tokens of a user; refresh tokens and grants stay. Returns how many that were. */
  revokeAccessTokens(user: string): number;
  /** Revokes everything that a user has consented to, tokens included. */
  revokeGrants(user: string): number;
  close(): Promise<void>;
}

/**
 * An OpenID provider (npm oidc-provider) for demos and tests, on loopback and in plain HTTP: opaque access tokens that resource
 * servers check by introspection. A browser that comes to its authorization endpoint consents at once.
 * @throws Error where the port is taken or a client is not valid
 */
export async function startOpenIdProvider(options: OpenIdProviderOptions): Promise<OpenIdProvider> {
  const handler: { handle(request: IncomingMessage, response: ServerResponse): void } = { handle: () => {} };
  const server = createServer((request, response) => handler.handle(request, response));
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const storages = new Storages();
  const provider = new Provider(issuer, settings(options, storages));
  const witness = new Witness();
  provider.use((ctx, next) => witness.see(ctx as unknown as KoaContextWithOIDC, next));
  const callback = provider.callback();
  handler.handle = (request, response) => {
    if (request.url?.startsWith('/interaction/')) void consent(request, response);
    else void callback(request, response);
  };

  async function clientOf(id: string): Promise<Client & { audience: string }> {
    const client = await provider.Client.find(id);
    if (!client) throw new Error(`no such client: ${id}`);
    return client as Client & { audience: string };
  }

  async function grant({ client, user }: Consent): Promise<string> {
    const { audience } = await clientOf(client);
    const given = new provider.Grant({ clientId: client, accountId: user });
    given.addOIDCScope('openid offline_access');
    given.addResourceScope(audience, SCOPE);
    return given.save();
  }

  /** What every token and code of a consent says. */
  async function terms({ client: id, user }: Consent) {
    const client = await clientOf(id);
    const scope = `offline_access ${SCOPE}`;
    return { client, accountId: user, grantId: await grant({ client: id, user }), scope, resource: client.audience };
  }

  /** The whole dialogue with the person: it is the one that the request hints at, and it says yes. */
  async function consent(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { params } = await provider.interactionDetails(request, response);
      const user = `${params.login_hint ?? options.users[0]}`;
      const grantId = await grant({ client: `${params.client_id}`, user });
      await provider.interactionFinished(request, response, { login: { accountId: user }, consent: { grantId } });
    } catch (error) {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${(error as Error).message}\n`);
    }
  }

  return {
    issuer,
    authorizationEndpoint: `${issuer}/auth`,
    tokenEndpoint: `${issuer}/token`,
    deviceAuthorizationEndpoint: `${issuer}/device/auth`,
    revocationEndpoint: `${issuer}/token/revocation`,
    introspectionUrl: (id) => {
      const { secret = '' } = options.resourceServers.find((known) => known.id === id) ?? {};
      return `http://${encodeURIComponent(id)}:${encodeURIComponent(secret)}@${issuer.slice(7)}/token/introspection`;
    },
    log: witness.log,
    refusals: witness.refusals,
    checks: witness.checks,
    authorizationCode: async ({ redirectUri, codeChallenge, ...who }) => {
      const common = await terms(who);
      return new provider.AuthorizationCode({
        ...common,
        gty: 'authorization_code',
        redirectUri: redirectUri ?? common.client.redirectUris?.[0],
        ...(codeChallenge && { codeChallenge, codeChallengeMethod: 'S256' }),
      }).save();
    },
    refreshToken: async (who) => {
      return new provider.RefreshToken({ ...(await terms(who)), gty: 'authorization_code', rotations: 0 }).save();
    },
    accessToken: async ({ seconds, ...who }) => {
      const { client, accountId, grantId } = await terms(who);
      const token = new provider.AccessToken({ client, accountId, grantId, scope: SCOPE, gty: 'authorization_code' });
      token.setAudience(client.audience);
      return Object.assign(token, seconds && { expiresIn: seconds }).save();
    },
    approveDevice: async (userCode, user) => {
      const code = await provider.DeviceCode.findByUserCode(userCode.toUpperCase().replace(/\W/g, ''));
      if (!code?.clientId) throw new Error('no such user code');
      const { client: _, ...answer } = await terms({ client: code.clientId, user });
      await Object.assign(code, answer).save();
    },
    revokeAccessTokens: (user) =>
      ['AccessToken', 'ClientCredentials']
        .map((kind) => storages.of(kind).drop(({ extra }) => extra?.username === user))
        .reduce((sum, count) => sum + count),
    revokeGrants: (user) =>
      ['AccessToken', 'RefreshToken', 'AuthorizationCode', 'Grant']
        .map((kind) => storages.of(kind).drop(({ accountId }) => accountId === user))
        .reduce((sum, count) => sum + count),
    close: async () => {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
