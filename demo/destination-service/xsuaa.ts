import { randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { createLocalJWKSet, exportJWK, generateKeyPair, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose';
import { type Refusal, refuse, refuseGrant } from './refusal.ts';

/** A client of the authorization server: a service instance. */
export interface Client {
  id: string;
  secret?: string;
  /** PEM: in place of a secret. */
  certificate?: string;
  /** The service that its tokens are for. */
  audience: string;
}

export interface XsuaaOptions {
  clients: Client[];
  /** Identity zones: subdomain to tenant id (the claim `zid`). */
  zones: Record<string, string>;
  provider: string;
  /** Of an access token; XSUAA's default is 12 hours. */
  tokenSeconds?: number;
}

export interface Claims {
  /** Subdomain. */
  tenant: string;
  clientId: string;
  audience: string[];
}

/** Stands for XSUAA: client credentials at each tenant's own host, and JWTs signed with RS256. */
export async function createXsuaa(options: XsuaaOptions) {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const kid = randomBytes(8).toString('hex');
  const jwks: JSONWebKeySet = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' }] };
  const keys = createLocalJWKSet(jwks);
  const lifetime = options.tokenSeconds ?? 43_200;

  /** For tests as well: a token without a request. */
  async function token(claims: {
    tenant: string;
    clientId: string;
    audience: string;
    seconds?: number;
  }): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const payload = {
      zid: options.zones[claims.tenant] ?? claims.tenant,
      ext_attr: { enhancer: 'XSUAA', zdn: claims.tenant },
      client_id: claims.clientId,
      cid: claims.clientId,
      azp: claims.clientId,
      scope: ['uaa.resource'],
      grant_type: 'client_credentials',
    };
    return await new SignJWT(payload)
      .setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT' })
      .setIssuer(`http://${claims.tenant}.localhost/oauth/token`)
      .setSubject(claims.clientId)
      .setAudience([claims.clientId, claims.audience])
      .setJti(randomBytes(16).toString('hex'))
      .setIssuedAt(now)
      .setExpirationTime(now + (claims.seconds ?? lifetime))
      .sign(privateKey);
  }

  /** POST /oauth/token. */
  async function issue(request: IncomingMessage, form: URLSearchParams): Promise<{ tenant: string; body: object }> {
    const tenant = tenantOf(request, options);
    const client = authenticated(request, form, options.clients);
    if (form.get('grant_type') === null) throw refuseGrant(400, 'invalid_request', 'Missing grant type');
    if (form.get('grant_type') !== 'client_credentials') {
      throw refuseGrant(401, 'unsupported_grant_type', 'The client is not allowed this grant type');
    }
    const value = await token({ tenant, clientId: client.id, audience: client.audience });
    const jti = randomBytes(16).toString('hex');
    const body = { access_token: value, token_type: 'bearer', expires_in: lifetime, scope: 'uaa.resource', jti };
    return { tenant, body };
  }

  /** @throws Refusal 401 where the token is not valid now, 403 where it is for another service */
  async function verify(authorization: string | undefined, audience: string): Promise<Claims> {
    const jwt = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? '')?.[1];
    if (jwt === undefined) throw unauthorized('Authorization header with a Bearer token is missing');
    const { payload } = await jwtVerify(jwt, keys, {
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'zid', 'aud'],
    }).catch(() => {
      throw unauthorized('Token is not valid');
    });
    const tenant = Object.keys(options.zones).find((subdomain) => options.zones[subdomain] === payload.zid);
    if (tenant === undefined) throw unauthorized('Token is of an unknown tenant');
    const audiences = [payload.aud ?? []].flat();
    if (!audiences.includes(audience)) throw refuse(403, 'Token is not for this service');
    return { tenant, clientId: String(payload.client_id), audience: audiences };
  }

  return { jwks, token, issue, verify };
}

export type Xsuaa = Awaited<ReturnType<typeof createXsuaa>>;

function unauthorized(message: string): Refusal {
  return refuse(401, message, { 'www-authenticate': 'Bearer' });
}

/** By x-zid (tenant id), else the host's first label; any host without a subdomain is the provider's. */
function tenantOf(request: IncomingMessage, { zones, provider }: XsuaaOptions): string {
  const id = request.headers['x-zid'];
  if (typeof id === 'string') return known(Object.keys(zones).find((zone) => zones[zone] === id));
  const host = (request.headers.host ?? '').replace(/:\d+$/, '');
  const subdomain = /^([^.]+)\.(?!.*\d$)/.exec(host)?.[1];
  return subdomain === undefined ? provider : known(Object.hasOwn(zones, subdomain) ? subdomain : undefined);
}

function known(zone: string | undefined): string {
  if (zone !== undefined) return zone;
  throw refuseGrant(404, 'not_found', 'The subdomain does not map to a valid identity zone.');
}

/** In the body or by Basic; a client with a certificate shows that (RFC 8705 section 2). */
function authenticated(request: IncomingMessage, form: URLSearchParams, clients: Client[]): Client {
  const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const [user, ...rest] = Buffer.from(basic ?? '', 'base64')
    .toString('utf8')
    .split(':');
  const id = basic === undefined ? form.get('client_id') : user;
  const secret = basic === undefined ? form.get('client_secret') : rest.join(':');
  const client = clients.find((candidate) => candidate.id === id);
  if (
    client &&
    (client.certificate === undefined
      ? sameText(secret ?? '', client.secret ?? '')
      : shows(request, client.certificate))
  ) {
    return client;
  }
  throw refuseGrant(401, 'unauthorized', 'Bad credentials', { 'www-authenticate': 'Basic realm="UAA/client"' });
}

function sameText(given: string, right: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(right)];
  return right !== '' && a.length === b.length && timingSafeEqual(a, b);
}

function shows(request: IncomingMessage, pem: string): boolean {
  const { raw } = (request.socket as TLSSocket).getPeerCertificate?.() ?? {};
  return raw?.equals(new X509Certificate(pem).raw) ?? false;
}
