import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import type { startDestinationService } from '../../../demo/destination-service/service.ts';
import { type OpenIdProvider, startOpenIdProvider } from '../../../demo/openid-provider.ts';
import type { DestinationRef } from '../../../sidecar-auth/destination-service/reference.ts';
import type { DestinationService } from '../../../sidecar-auth/destination-service/service.ts';
import type { TokenIssuer } from '../../../sidecar-auth/token/issuer.ts';
import { afterwards, MAIL, service, simulator, temporaryFolder } from './world.ts';

const USER = 'alice@example';
const SECRET = 'cl1ent-s3cret';

interface World {
  provider: OpenIdProvider;
  running: Awaited<ReturnType<typeof startDestinationService>>;
  source: DestinationService;
}

async function world(
  more: Record<string, Record<string, string>> = {},
  ttl: { accessToken?: number } = {},
): Promise<World> {
  const provider = await startOpenIdProvider({
    clients: [
      { id: 'robot', secret: SECRET, audience: 'https://mail.example', user: USER },
      { id: 'mail', secret: SECRET, audience: 'https://mail.example', redirectUris: ['http://127.0.0.1/back'] },
    ],
    resourceServers: [],
    users: [USER],
    ttl,
  });
  afterwards(() => provider.close());
  const oauth = { ...MAIL, clientSecret: SECRET, tokenServiceURL: provider.tokenEndpoint };
  const destinations = [
    { ...oauth, Name: 'silent', Authentication: 'OAuth2ClientCredentials', clientId: 'robot' },
    { ...oauth, Name: 'refresh', Authentication: 'OAuth2RefreshToken', clientId: 'mail' },
    { ...oauth, Name: 'code', Authentication: 'OAuth2AuthorizationCode', clientId: 'mail' },
    ...Object.entries(more).map(([Name, properties]) => ({ ...oauth, Name, clientId: 'mail', ...properties })),
  ];
  const { port } = new URL(provider.issuer);
  const running = await simulator({
    accounts: { provider: { subaccount: { destinations } }, acme: { subaccount: { destinations } } },
    onPremise: { 'idp.virtual:80': { host: '127.0.0.1', port: Number(port) } },
  });
  return { provider, running, ...(await service(running)) };
}

async function issuer(source: DestinationService, ref: DestinationRef): Promise<TokenIssuer> {
  return (await source.find(ref))?.issuer ?? expect.fail('no issuer');
}

function clock(): { forward(ms: number): void } {
  vi.useFakeTimers({ toFake: ['Date'] });
  afterwards(() => vi.useRealTimers());
  return { forward: (ms) => void vi.setSystemTime(Date.now() + ms) };
}

async function failure(work: Promise<unknown> | undefined) {
  return await (work ?? expect.fail('nothing to wait for')).then(
    () => expect.fail('no failure'),
    (error) => error,
  );
}

const BACK = { redirectUri: 'http://127.0.0.1/back' };

describe('client credentials', () => {
  it('gets one token for many, and no exchange', async () => {
    const { provider, source } = await world();
    const { silent, exchange } = await issuer(source, { name: 'silent' });
    const tokens = await Promise.all(Array.from({ length: 50 }, () => silent?.()));
    expect(new Set(tokens.map((token) => token?.value)).size).toBe(1);
    expect(tokens[0]?.expiresAt).toBeGreaterThan(Date.now() + 3_500_000);
    expect(provider.log).toMatchObject([{ grant: 'client_credentials' }]);
    expect(exchange).toBeUndefined();
  });

  it('drops a token that the server refused, and not the one of another tenant', async () => {
    const { provider, source } = await world();
    const { silent, refused } = await issuer(source, { name: 'silent' });
    const other = await issuer(source, { name: 'silent', tenant: 'acme' });
    const first = await silent?.();
    const others = await other.silent?.();
    expect(others?.value).not.toBe(first?.value);
    refused(first?.value ?? '');
    const second = await silent?.();
    expect(second?.value).not.toBe(first?.value);
    expect(await other.silent?.()).toEqual(others);
    expect(provider.log).toHaveLength(3);
  });

  it('goes on for five minutes while the service is down and the token lives, and not longer than that', async () => {
    const { forward } = clock();
    const { running, source } = await world();
    const token = await (await issuer(source, { name: 'silent' })).silent?.();
    running.faults.destination = { kind: 'down' };
    for (let minute = 0; minute < 5; minute++) {
      forward(60_000);
      expect(await (await issuer(source, { name: 'silent' })).silent?.()).toEqual(token);
    }
    forward(3_600_000);
    const { silent } = await issuer(source, { name: 'silent' });
    expect(await failure(silent?.())).toMatchObject({ code: 'unknown_destination', retry: true });
  });

  it("passes on what the service says of the token service, without the destination's secrets", async () => {
    const { running, source } = await world({
      wrong: { Authentication: 'OAuth2ClientCredentials', clientId: 'robot', clientSecret: 'wr0ng' },
    });
    const error = await failure((await issuer(source, { name: 'wrong' })).silent?.());
    expect(error).toMatchObject({ code: 'token', message: expect.stringContaining('invalid_client') });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wr0ng');
    running.faults.destination = { kind: 'token' };
    const injected = await failure((await issuer(source, { name: 'silent' })).silent?.());
    expect(injected).toMatchObject({ code: 'token', message: expect.stringContaining('a fault was injected') });
  });

  it('repeats no secret that the token service echoes', async () => {
    const echo = createServer(async (request, response) => {
      response.writeHead(400).end(`no: ${await text(request)}`);
    }).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    afterwards(() => echo.close());
    afterwards(() => echo.closeAllConnections());
    const tokenServiceURL = `http://127.0.0.1:${(echo.address() as AddressInfo).port}/`;
    const clientSecret = 'cl/ent+s3cret=';
    const { source } = await world({
      silent2: { Authentication: 'OAuth2ClientCredentials', tokenServiceURL, clientSecret },
      refresh2: { Authentication: 'OAuth2RefreshToken', tokenServiceURL, clientSecret },
    });
    const silent = await failure((await issuer(source, { name: 'silent2' })).silent?.());
    const exchange = await failure((await issuer(source, { name: 'refresh2' })).exchange?.(USER, 'pr3s/ented'));
    for (const error of [silent, exchange]) {
      expect(error).toMatchObject({ code: 'token', message: expect.stringContaining('status 400') });
      expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/s3cret|pr3s/);
    }
  });

  it('sends the tenant for the token service, where its URL is for all', async () => {
    const { provider } = await world();
    const accounts = { provider: { subaccount: { destinations: [] as Record<string, string>[] } } };
    accounts.provider.subaccount.destinations.push({
      ...MAIL,
      Authentication: 'OAuth2ClientCredentials',
      clientId: 'robot',
      clientSecret: SECRET,
      tokenServiceURLType: 'Common',
      tokenServiceURL: `${provider.issuer}/{tenant}`,
    });
    const common = await service(await simulator({ accounts }));
    const right = await issuer(common.source, { name: 'office', tokenServiceTenant: 'token' });
    expect((await right.silent?.())?.value).toBeTruthy();
    const without = await issuer(common.source, { name: 'office' });
    expect(await failure(without.silent?.())).toMatchObject({
      code: 'token',
      message: expect.stringContaining('X-tenant'),
    });
  });
});

describe('refresh tokens', () => {
  it('are exchanged by the service, once for many connections, and followed when they rotate', async () => {
    const { forward } = clock();
    const { provider, running, source } = await world();
    const presented = await provider.refreshToken({ client: 'mail', user: USER });
    const { exchange, silent } = await issuer(source, { name: 'refresh' });
    expect(silent).toBeUndefined();
    const tokens = await Promise.all(Array.from({ length: 20 }, () => exchange?.(USER, presented)));
    expect(new Set(tokens.map((token) => token?.value)).size).toBe(1);
    forward(3_700_000); // the provider would refuse the first refresh token, and end the grant
    const later = await exchange?.(USER, presented);
    expect(later?.value).not.toBe(tokens[0]?.value);
    expect(provider.log.map(({ grant }) => grant)).toEqual(['refresh_token', 'refresh_token']);
    expect(running.log.filter(({ headers }) => headers.includes('x-refresh-token'))).toHaveLength(2);
    expect(JSON.stringify(running.log)).not.toContain(presented);
  });

  it('that rotate are followed by two helpers in turn, and after a restart', async () => {
    const { forward } = clock();
    const { provider, running } = await world();
    const presented = await provider.refreshToken({ client: 'mail', user: USER });
    const grants = await temporaryFolder();
    const values = [];
    for (let turn = 0; turn < 4; turn++) {
      const { source } = await service(running, { grants });
      values.push((await (await issuer(source, { name: 'refresh' })).exchange?.(USER, presented))?.value);
      forward(3_700_000);
    }
    expect(new Set(values).size).toBe(4);
    expect(provider.refusals).toEqual([]);
  });

  it('of one user or tenant give nothing to another', async () => {
    const { provider, source } = await world();
    const presented = await provider.refreshToken({ client: 'mail', user: USER });
    const { exchange } = await issuer(source, { name: 'refresh' });
    await exchange?.(USER, presented);
    const error = await failure(exchange?.(USER, `${presented}x`));
    expect(error).toMatchObject({ code: 'token', retry: false, message: expect.stringContaining('invalid_grant') });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(presented);
    expect(await failure(exchange?.(USER, 'a\r\nX-tenant: b'))).toMatchObject({ code: 'token', retry: false });
    expect(provider.log).toHaveLength(1);
  });
});

describe('authorization codes', () => {
  it('are redeemed once by the service; later tokens come from the token service itself', async () => {
    const { forward } = clock();
    const { provider, running, source } = await world();
    const code = await provider.authorizationCode({ client: 'mail', user: USER, ...BACK });
    const { exchange } = await issuer(source, { name: 'code', ...BACK });
    const first = await exchange?.(USER, code);
    forward(3_700_000);
    const second = await exchange?.(USER, code);
    forward(3_700_000);
    const third = await exchange?.(USER, code);
    expect(new Set([first, second, third].map((token) => token?.value)).size).toBe(3);
    expect(provider.log.map(({ grant }) => grant)).toEqual(['authorization_code', 'refresh_token', 'refresh_token']);
    const exchanges = running.log.filter(({ headers }) => headers.includes('x-code'));
    expect(exchanges).toMatchObject([{ headers: ['x-code', 'x-redirect-uri'] }]);
  });

  it('with a verifier, and not without', async () => {
    const { provider, source } = await world();
    const verifier = 'v'.repeat(43);
    const digest = await crypto.subtle.digest('SHA-256', Buffer.from(verifier));
    const codeChallenge = Buffer.from(digest).toString('base64url');
    const consent = { client: 'mail', user: USER, ...BACK, codeChallenge };
    const without = await issuer(source, { name: 'code', ...BACK });
    expect(await failure(without.exchange?.(USER, await provider.authorizationCode(consent)))).toMatchObject({
      code: 'token',
    });
    const right = await issuer(source, { name: 'code', ...BACK, codeVerifier: verifier });
    expect((await right.exchange?.(USER, await provider.authorizationCode(consent)))?.value).toBeTruthy();
  });

  it('of a token service behind the Cloud Connector work once, and then say so', async () => {
    const onPremise = {
      Authentication: 'OAuth2AuthorizationCode',
      ProxyType: 'OnPremise',
      tokenServiceURL: 'http://idp.virtual/token',
    };
    const { forward } = clock();
    const { provider, source } = await world({ premise: onPremise });
    const code = await provider.authorizationCode({ client: 'mail', user: USER, ...BACK });
    const { exchange } = await issuer(source, { name: 'premise', ...BACK });
    const first = await exchange?.(USER, code);
    expect(await exchange?.(USER, code)).toEqual(first);
    forward(3_700_000);
    const later = (await issuer(source, { name: 'premise', ...BACK })).exchange?.(USER, code);
    expect(await failure(later)).toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringMatching(/used up.*Cloud Connector/),
    });
    expect(provider.log).toHaveLength(1);
  });
});
