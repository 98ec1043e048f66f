import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { TokenService } from '../../../sidecar-auth/destination/token-service.ts';
import { tokenEndpoint } from '../../../sidecar-auth/token/endpoint.ts';
import { InvalidGrant, TokenClient } from '../../../sidecar-auth/token/request.ts';
import { selfSigned } from './certificate.ts';
import { AUDIENCE, JANE, provider, REDIRECT, SECRET, secret, tokenService } from './world.ts';

function client(service: TokenService): TokenClient {
  return new TokenClient(service, new URL(service.url));
}

interface Asked {
  headers: IncomingMessage['headers'];
  form: Record<string, string>;
  url: string | undefined;
}

/** A token service that answers as it is told, in plain HTTP on loopback. */
async function standIn(answer: (asked: Asked, response: ServerResponse) => unknown) {
  const asked: Asked[] = [];
  const listener: RequestListener = async (request, response) => {
    const form = Object.fromEntries(new URLSearchParams(await text(request)));
    const one = { headers: request.headers, form, url: request.url };
    asked.push(one);
    const body = answer(one, response);
    response.setHeader('content-type', 'application/json').end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close().closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, asked };
}

const ISSUED = { access_token: 'opaque', token_type: 'Bearer' };

async function failure(work: Promise<unknown>) {
  const error = await work.then(
    () => expect.fail('no failure'),
    (reason) => reason,
  );
  expect(error).toMatchObject({ code: 'token' });
  expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/geheim|schlecht/);
  return error as InvalidGrant;
}

describe('at a real OpenID provider', () => {
  it('client credentials', async () => {
    const op = await provider();
    const issued = await client(
      tokenService(op.tokenEndpoint, { clientId: 'service', scope: 'mail' }),
    ).clientCredentials();
    expect(op.log).toMatchObject([{ grant: 'client_credentials', user: JANE, audience: AUDIENCE }]);
    expect(issued.expiresAt - Date.now()).toBeGreaterThan(3_590_000);
  });

  it('an authorization code with PKCE and its redirect URI, once', async () => {
    const op = await provider();
    const verifier = 'v'.repeat(43);
    const challenge = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(verifier))).toString('base64url');
    const service = client(tokenService(op.tokenEndpoint));
    const code = () => op.authorizationCode({ client: 'web', user: JANE, codeChallenge: challenge });
    const good = await code();
    expect(await service.redeem(good, REDIRECT, verifier)).toHaveProperty('refreshToken');
    expect(await failure(service.redeem(good, REDIRECT, verifier))).toBeInstanceOf(InvalidGrant);
    expect((await failure(service.redeem(await code(), REDIRECT, 'w'.repeat(43)))).message).toContain('invalid_grant');
    expect((await failure(service.redeem(await code(), 'http://127.0.0.1/else', verifier))).retry).toBe(false);
  });

  it('a refresh token, which rotates', async () => {
    const op = await provider();
    const service = client(tokenService(op.tokenEndpoint));
    const first = await op.refreshToken({ client: 'web', user: JANE });
    const { refreshToken: second } = await service.refresh(first);
    expect(second).not.toBe(first);
    expect(await service.refresh(second ?? '')).toHaveProperty('accessToken');
  });

  it.each([
    ['RS256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['Ed25519', () => generateKeyPairSync('ed25519')],
  ])('private_key_jwt with %s', async (alg, generate) => {
    const { privateKey, publicKey } = generate();
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'one', alg } as never;
    const op = await provider({
      clients: [{ id: 'signer', jwks: { keys: [jwk] }, audience: AUDIENCE, user: JANE }],
    });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const way = { kind: 'private_key_jwt', key, keyId: 'one' } as const;
    const service = tokenService(op.tokenEndpoint, { clientId: 'signer', scope: 'mail', authentication: way });
    expect(await client(service).clientCredentials()).toHaveProperty('accessToken');
    const other = { ...way, audience: 'https://elsewhere.example' };
    const { message } = await failure(client({ ...service, authentication: other }).clientCredentials());
    expect(message).toContain('invalid_client');
  });

  it('a wrong secret', async () => {
    const op = await provider();
    const wrong = { kind: 'secret', secret: 'schlecht', in: 'either' } as const;
    const service = tokenService(op.tokenEndpoint, { clientId: 'service', scope: 'mail', authentication: wrong });
    const { message, retry } = await failure(client(service).clientCredentials());
    expect(message).toMatch(/^invalid_client: the token service 127\.0\.0\.1:\d+ refused the request$/);
    expect(retry).toBe(false);
  });
});

it('mTLS: shows the certificate, and does not reach a server that it does not trust', async () => {
  const { certificate, key } = await selfSigned('server');
  const own = await selfSigned('postern');
  const shown: string[] = [];
  const server = createTlsServer(
    { cert: certificate, key, requestCert: true, ca: own.certificate },
    (request, response) => {
      shown.push(`${(request.socket as TLSSocket).getPeerCertificate().subject?.CN}`);
      response.setHeader('content-type', 'application/json').end(JSON.stringify(ISSUED));
    },
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close().closeAllConnections();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const service = tokenService(url, { authentication: { kind: 'tls', certificate: own.certificate, key: own.key } });
  const issued = await new TokenClient(service, new URL(url), { ca: certificate }).clientCredentials();
  expect([issued.accessToken, shown]).toEqual(['opaque', ['postern']]);
  const { message } = await failure(new TokenClient(service, new URL(url)).clientCredentials());
  expect(message).toMatch(/cannot be reached \(.*SELF_SIGNED.*\)/);
});

describe('where the secret goes', () => {
  const picky = (wanted: 'body' | 'header') => (asked: Asked, response: ServerResponse) => {
    const place = asked.headers.authorization ? 'header' : 'body';
    if (place === wanted) return ISSUED;
    // With a challenge, as RFC 6749 section 5.2 wants it.
    response.statusCode = 401;
    response.setHeader('www-authenticate', 'Basic realm="x"');
    return { error: 'invalid_client' };
  };

  it.each(['body', 'header'] as const)('finds out that the %s is wanted, and remembers it', async (wanted) => {
    const { url, asked } = await standIn(picky(wanted));
    const service = client(tokenService(url));
    await service.clientCredentials();
    await service.clientCredentials();
    const places = asked.map(({ headers }) => (headers.authorization ? 'header' : 'body'));
    expect(places).toEqual(wanted === 'body' ? ['body', 'body'] : ['body', 'header', 'header']);
    expect(asked.every(({ form, headers }) => !(form.client_secret && headers.authorization))).toBe(true);
  });

  it('does as it is told', async () => {
    const { url, asked } = await standIn(picky('header'));
    expect(
      (await failure(client(tokenService(url, { authentication: secret('body') })).clientCredentials())).message,
    ).toContain('invalid_client');
    await client(tokenService(url, { authentication: secret('header') })).clientCredentials();
    const basic = { kind: 'basic', user: 'u!|', password: 'p%' } as const;
    await client(tokenService(url, { authentication: basic })).clientCredentials();
    expect(asked).toHaveLength(3);
    expect(asked[2]?.headers.authorization).toBe(`Basic ${Buffer.from('u!|:p%').toString('base64')}`);
  });
});

it('sends what the destination says along, but not in place of what the grant needs', async () => {
  const { url, asked } = await standIn(() => ISSUED);
  const service = tokenService(url, {
    body: { resource: 'urn:x', refresh_token: 'another', grant_type: 'password' },
    headers: { 'x-zone': 'eu' },
    queries: { v: '2' },
  });
  await new TokenClient(service, tokenEndpoint(service, undefined)).refresh('mine');
  expect(asked[0]?.form).toMatchObject({
    resource: 'urn:x',
    refresh_token: 'mine',
    grant_type: 'refresh_token',
    scope: 'mail offline_access',
  });
  expect([asked[0]?.headers['x-zone'], asked[0]?.url]).toEqual(['eu', '/token?v=2']);
});

it.each([
  ['a number', 3600, 3600],
  ['a text, as 21Vianet has it', '3599', 3599],
  ['missing', undefined, 300],
  ['a century', 3_153_600_000, 86_400],
])('expires_in is %s', async (_, value, seconds) => {
  const { url } = await standIn(() => ({ ...ISSUED, expires_in: value }));
  const before = Date.now();
  const { expiresAt } = await client(tokenService(url)).clientCredentials();
  expect(Math.abs((expiresAt - before) / 1000 - seconds)).toBeLessThan(5);
});

it('does not mind an ID token of whomever', async () => {
  const { url } = await standIn(() => ({ ...ISSUED, id_token: 'a.b.c' }));
  expect((await client(tokenService(url)).refresh('r')).accessToken).toBe('opaque');
});

it.each([
  ['no JSON', '<html>geheim</html>'],
  ['no token', { token_type: 'Bearer', geheim: 1 }],
  ['no bearer token', { ...ISSUED, token_type: 'dpop' }],
  ['a token with a space', { ...ISSUED, access_token: 'geheim NOOP' }],
  ['a token with a line end', { ...ISSUED, access_token: 'geheim\r\nNOOP' }],
  ['a token of more than 16 KiB', { ...ISSUED, access_token: 'x'.repeat(16_385) }],
  ['an endless answer', { ...ISSUED, more: 'geheim'.repeat(30_000) }],
])('refuses an answer with %s', async (_, body) => {
  const { url } = await standIn(() => body);
  await failure(client(tokenService(url)).clientCredentials());
});

it("tells the error's code, and Microsoft's number, but not the text, which may repeat a token", async () => {
  const { url } = await standIn((_, response) => {
    response.statusCode = 400;
    return { error: 'invalid_grant', error_description: 'AADSTS70008: the token geheim has expired' };
  });
  const { message, retry } = await failure(client(tokenService(url)).refresh('geheim'));
  expect(message).toMatch(/^invalid_grant: .* \(AADSTS70008\)$/);
  expect(retry).toBe(false);
});

it('a code is sent once whatever happens; client credentials again', async () => {
  const { url, asked } = await standIn((_, response) => {
    response.statusCode = 503;
    return { error: 'server_error' };
  });
  expect((await failure(client(tokenService(url)).redeem('c'))).retry).toBe(true);
  expect(asked).toHaveLength(1);
  await failure(client(tokenService(url)).clientCredentials());
  expect(asked).toHaveLength(4);
});

it('says that nobody is there', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const url = `http://127.0.0.1:${(gone.address() as AddressInfo).port}/token`;
  await once(gone.close(), 'close');
  expect((await failure(client(tokenService(url)).refresh('geheim'))).message).toContain('(ECONNREFUSED)');
});

describe('the tenant in the URL', () => {
  const common = (url: string) => tokenService(url, { urlType: 'Common' });

  it.each([
    ['https://login.example.com/token', 'https://mine.login.example.com/token'],
    ['https://{tenant}.login.example.com/token', 'https://mine.login.example.com/token'],
    ['https://login.example.com/{tenant}/token', 'https://login.example.com/mine/token'],
  ])('%s', (url, expected) => {
    expect(tokenEndpoint(common(url), 'mine').href).toBe(expected);
    expect(tokenEndpoint(tokenService(expected), undefined).href).toBe(expected);
  });

  it.each([undefined, 'evil.example/', 'a.b', '', '-a', 'x@y'])('refuses %j', (tenant) => {
    expect(() => tokenEndpoint(common('https://login.example.com/token'), tenant)).toThrow(/tokenServiceTenant/);
  });

  it('refuses what would send a secret in clear', () => {
    expect(() => tokenEndpoint(tokenService('http://login.example.com/token'), undefined)).toThrow('https');
  });
});

it("can't use what only the Destination service has", async () => {
  const service = tokenService('https://x.example/', { authentication: { kind: 'destination_service' } });
  expect((await failure(client(service).clientCredentials())).message).toContain('only the Destination service');
});

it.each(['geheim', 'geheim_twice'])('does not pass on a code that is the secret %s', async (secret) => {
  const { url } = await standIn((_, response) => {
    response.statusCode = 400;
    return { error: secret };
  });
  const own = client(tokenService(url, { authentication: { kind: 'secret', secret, in: 'body' } }));
  expect((await failure(own.clientCredentials())).message).toContain('unknown error');
  const other = client(tokenService(url, { authentication: { kind: 'none' } }));
  expect((await failure(other.refresh(secret))).message).toContain('unknown error');
});

it('passes on the codes of providers, and knows a registered one whatever the secret is', async () => {
  const codes = ['org_internal', 'invalid_grant'];
  const { url } = await standIn((_, response) => {
    response.statusCode = 400;
    return { error: codes.shift() };
  });
  expect((await failure(client(tokenService(url)).refresh('r-1'))).message).toMatch(/^org_internal: /);
  expect(await failure(client(tokenService(url)).refresh('a'))).toBeInstanceOf(InvalidGrant);
});

it('does not pass on what is no error code', async () => {
  const { url } = await standIn((_, response) => {
    response.statusCode = 400;
    return { error: SECRET };
  });
  expect((await failure(client(tokenService(url)).refresh('r'))).message).toContain('unknown error');
});
