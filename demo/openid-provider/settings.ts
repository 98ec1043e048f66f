import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { type Client, type ClientMetadata, type Configuration, errors, type JWK } from 'oidc-provider';
import type { OpenIdClient, OpenIdProviderOptions } from '../openid-provider.ts';
import type { Storages } from './storage.ts';

/** The scope that mail servers demand. */
export const SCOPE = 'mail';
/** Seconds: what nobody wants to be short. */
const DAY = 24 * 60 * 60;
const BITS_PER_OCTET = 6; // an opaque token is made of 64 different characters

/** oidc-provider's configuration: opaque tokens, every client with one audience, consent by interaction at /interaction/. */
export function settings(options: OpenIdProviderOptions, storages: Storages): Configuration {
  const { ttl = {}, rotate = true, tokenOctets = 43 } = options;
  const accessToken = ttl.accessToken ?? 3600;
  return {
    adapter: (kind) => storages.of(kind),
    clients: [...options.clients.map(metadata), ...options.resourceServers.map(resourceServer)],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    extraClientMetadata: { properties: ['audience', 'user'] },
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(24).toString('base64url')] },
    clockTolerance: 0,
    features: { ...features(options, accessToken), ...UNUSED },
    formats: { bitsOfOpaqueRandomness: tokenOctets * BITS_PER_OCTET },
    findAccount: (_, sub) => {
      if (!options.users.includes(sub)) return undefined;
      return { accountId: sub, claims: () => ({ sub }) };
    },
    extraTokenClaims: (_, token) => {
      const user = 'accountId' in token ? token.accountId : token.client?.user;
      return { username: user };
    },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    rotateRefreshToken: rotate,
    clientBasedCORS: () => false,
    renderError: (ctx, { error, error_description: description }) => {
      ctx.type = 'text';
      ctx.body = `${error}: ${description}\n`;
    },
    ttl: {
      AccessToken: accessToken,
      ClientCredentials: accessToken,
      AuthorizationCode: ttl.code ?? 600,
      RefreshToken: ttl.refreshToken ?? DAY,
      DeviceCode: ttl.code ?? 600,
      Grant: DAY,
      IdToken: 3600,
      Interaction: 600,
      Session: DAY,
    },
  };
}

/** Has no part in what is shown here. */
const UNUSED = {
  devInteractions: { enabled: false },
  dPoP: { enabled: false },
  pushedAuthorizationRequests: { enabled: false },
  rpInitiatedLogout: { enabled: false },
  userinfo: { enabled: false },
};

function features(options: OpenIdProviderOptions, accessTokenTTL: number): Configuration['features'] {
  const audiences = new Set([...options.clients, ...options.resourceServers].map(({ audience }) => audience));
  return {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true, ...devicePages },
    // RFC 7662 section 4: a resource server learns nothing of a token that is not for it
    introspection: {
      enabled: true,
      allowedPolicy: (_, client, token) => 'aud' in token && token.aud === client.audience,
    },
    revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
    // RFC 8707; SAP's Destination service names no resource, so a client's own audience is the default
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, client, oneOf) => (oneOf ?? client.audience) as string,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => {
        if (!audiences.has(resource)) throw new errors.InvalidTarget();
        return { scope: SCOPE, audience: resource, accessTokenTTL, accessTokenFormat: 'opaque' };
      },
    },
  };
}

const page = (content: string) => `<!DOCTYPE html><title>Postern demo</title>${content}`;

const devicePages = {
  userCodeInputSource: (ctx: { body: unknown }, form: string, _: unknown, error?: unknown) => {
    const hint = error ? '<p>This is no code that waits.' : '';
    ctx.body = page(
      `<p>The code that your device shows:${hint}${form}<button form="op.deviceInputForm">Go on</button>`,
    );
  },
  userCodeConfirmSource: (ctx: { body: unknown }, form: string, _: Client, __: unknown, code: string) => {
    const question = `<p>Does your device show <b>${code}</b>?`;
    ctx.body = page(
      `${question}${form}<button autofocus form="op.deviceConfirmForm">Yes, let it read and send</button>`,
    );
  },
  successSource: (ctx: { body: unknown }) => {
    ctx.body = page('<p>Done. Your device goes on by itself.');
  },
};

function metadata({ id, secret, jwks, audience, user, redirectUris }: OpenIdClient): ClientMetadata {
  const withUser = redirectUris !== undefined;
  const grants = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
  return {
    client_id: id,
    ...(secret !== undefined && { client_secret: secret }),
    ...(jwks && { jwks }),
    token_endpoint_auth_method: jwks ? 'private_key_jwt' : secret === undefined ? 'none' : 'client_secret_basic',
    grant_types: [...(withUser ? grants : []), ...(user === undefined ? [] : ['client_credentials'])],
    response_types: withUser ? ['code'] : [],
    redirect_uris: redirectUris ?? [],
    // RFC 8252 section 7.3: any port of a loopback redirect URI
    application_type: 'native',
    audience,
    ...(user !== undefined && { user }),
  };
}

function resourceServer({ id, secret, audience }: OpenIdProviderOptions['resourceServers'][number]): ClientMetadata {
  return { client_id: id, client_secret: secret, grant_types: [], response_types: [], redirect_uris: [], audience };
}

function signingKey(): JWK {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...(privateKey.export({ format: 'jwk' }) as JWK), use: 'sig', alg: 'ES256', kid: 'demo' };
}
