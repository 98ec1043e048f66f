import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Certificates, createCertificates } from '../../../demo/certificates.ts';
import { connectionError, createFetch, retrying, secureUrl } from '../../../sidecar-auth/http.ts';

const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'])
    vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen<T extends Server>(server: T, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, host);
  await once(server, 'listening');
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function certificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-http-'));
  cleanups.push(() => rm(folder, { recursive: true }));
  return await createCertificates(folder);
}

const hello: RequestListener = (_request, response) => response.end('hello');

/** An HTTP proxy that takes CONNECT for any name, to this machine. */
async function proxy() {
  const asked: string[] = [];
  const server = createServer();
  server.on('connect', (request, client) => {
    asked.push(`${request.url}`);
    const upstream = connect(Number(`${request.url}`.split(':').at(-1)), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [upstream, client]) socket.on('error', () => {});
    cleanups.push(() => upstream.destroy());
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, asked };
}

describe('createFetch', () => {
  it('trusts the CAs given and no others', async () => {
    const { ca, issue } = await certificates();
    const port = await listen(createTlsServer(await issue('a', { names: ['a.localhost'] }), hello));
    expect(await (await createFetch({ ca })(`https://a.localhost:${port}`)).text()).toBe('hello');
    const error = await createFetch()(`https://a.localhost:${port}`).catch((reason) => reason);
    expect(connectionError(error)).toMatch(/CERT|VERIFY/);
    const wrongName = await createFetch({ ca })(`https://b.localhost:${port}`).catch((reason) => reason);
    expect(connectionError(wrongName)).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('shows a client certificate', async () => {
    const { ca, issue } = await certificates();
    const server = createTlsServer({
      ...(await issue('a', { names: ['a.localhost'] })),
      requestCert: true,
      rejectUnauthorized: false,
    });
    server.on('request', ({ socket }, response) =>
      response.end((socket as import('node:tls').TLSSocket).getPeerCertificate().subject?.CN ?? 'nobody'),
    );
    const port = await listen(server);
    const { cert, key } = await issue('client');
    expect(await (await createFetch({ ca, cert, key })(`https://a.localhost:${port}`)).text()).toBe('client');
    expect(await (await createFetch({ ca })(`https://a.localhost:${port}`)).text()).toBe('nobody');
  });

  it('goes by HTTPS_PROXY, with the same trust, and past it for NO_PROXY', async () => {
    const { ca, issue } = await certificates();
    const port = await listen(createTlsServer(await issue('a', { names: ['service.example', 'past.invalid'] }), hello));
    const { url, asked } = await proxy();
    vi.stubEnv('HTTPS_PROXY', url);
    vi.stubEnv('NO_PROXY', 'past.invalid');
    expect(await (await createFetch({ ca })(`https://service.example:${port}`)).text()).toBe('hello');
    const error = await createFetch()(`https://service.example:${port}`).catch((reason) => reason);
    expect(connectionError(error)).toMatch(/CERT|VERIFY/);
    const proxied = asked.length;
    expect(asked[0]).toBe(`service.example:${port}`);
    const past = await createFetch({ ca })(`https://past.invalid:${port}`).catch((reason) => reason);
    expect(connectionError(past)).toMatch(/ENOTFOUND|EAI_AGAIN/);
    expect(asked).toHaveLength(proxied);
  });

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.1.2.3', '127.1.2.3'],
    ['localhost', '127.0.0.1'],
    ['tenant.localhost', '127.0.0.1'],
  ])('goes past any proxy to this machine: http://%s', async (host, address) => {
    const seen: string[] = [];
    const hears = createServer((request, response) => {
      seen.push(`${request.url}`);
      response.end('from the proxy');
    });
    hears.on('connect', (request, socket) => {
      seen.push(`${request.url}`);
      socket.end('HTTP/1.1 502 no\r\n\r\n');
    });
    const proxyUrl = `http://127.0.0.1:${await listen(hears)}`;
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) vi.stubEnv(name, proxyUrl);
    const port = await listen(createServer(hello), address);
    const ask = createFetch();
    expect(await (await ask(`http://${host}:${port}`)).text()).toBe('hello');
    expect(seen).toEqual([]);
    // The twin: a name that only looks like it.
    await ask(`http://${host}.example:${port}`).catch(() => {});
    expect(seen).toEqual([expect.stringContaining(`${host}.example:${port}`)]);
  });

  it('goes past any proxy to [::1]', async () => {
    vi.stubEnv('HTTP_PROXY', (await proxy()).url);
    const error = await createFetch()('http://[::1]:65001').catch((reason) => reason);
    expect(connectionError(error)).toMatch(/^(ECONNREFUSED|EADDRNOTAVAIL|ENETUNREACH|EHOSTUNREACH)$/);
  });

  it('says that a proxy is no URL without quoting it', () => {
    vi.stubEnv('HTTPS_PROXY', 'http://user:p4ss@:x');
    expect(() => createFetch()).toThrow(/^HTTP_PROXY or HTTPS_PROXY is not a URL$/);
  });

  it('follows no redirect', async () => {
    const port = await listen(
      createServer((_request, response) => response.writeHead(307, { location: '/other' }).end()),
    );
    expect((await createFetch()(`http://127.0.0.1:${port}`)).status).toBe(307);
  });

  it('waits 10 seconds for an answer', async () => {
    const port = await listen(createServer(() => {}));
    const begin = performance.now();
    const error = await createFetch()(`http://127.0.0.1:${port}`).catch((reason) => reason);
    expect(connectionError(error)).toMatch(/TIMEOUT/);
    expect(performance.now() - begin).toBeGreaterThan(9_000);
    expect(performance.now() - begin).toBeLessThan(13_000);
  });
});

describe('retrying', () => {
  const broken = (code: string) => Object.assign(new TypeError('fetch failed'), { cause: { code } });

  /** A fetch that gives these outcomes one after the other, and the waits in between. */
  function script(outcomes: (number | Error)[], after?: 'any' | 'unsent') {
    const waits: number[] = [];
    let asked = 0;
    const once = async () => {
      const outcome = outcomes[asked++] ?? 200;
      if (typeof outcome !== 'number') throw outcome;
      return new Response(`${asked}`, { status: outcome });
    };
    const wait = async (ms: number) => void waits.push(ms);
    const fetch = retrying(once as typeof globalThis.fetch, { wait, ...(after && { after }) });
    return { fetch: () => fetch('http://x'), waits, asked: () => asked };
  }

  it('asks again after a 5xx or a broken connection, three times in all', async () => {
    const { fetch, waits } = script([503, broken('ECONNRESET')]);
    expect((await fetch()).status).toBe(200);
    expect(waits).toHaveLength(2);
    const never = script([500, 500, 500]);
    expect((await never.fetch()).status).toBe(500);
    expect(never.asked()).toBe(3);
    const dead = script([broken('ECONNREFUSED'), broken('ECONNREFUSED'), broken('ECONNREFUSED')]);
    await expect(dead.fetch()).rejects.toThrow('fetch failed');
    expect(dead.asked()).toBe(3);
  });

  it('waits at random, from nothing to 200 ms and then 400 ms', async () => {
    const all = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const { fetch, waits } = script([500, 500]);
        await fetch();
        return waits;
      }),
    );
    const [first, second] = [0, 1].map((index) => all.map((waits) => waits[index] ?? Number.NaN));
    expect(new Set(first).size).toBeGreaterThan(90);
    expect(Math.max(...(first ?? []))).toBeLessThanOrEqual(200);
    expect(Math.max(...(second ?? []))).toBeGreaterThan(200);
    expect(Math.max(...(second ?? []))).toBeLessThanOrEqual(400);
  });

  it.each<[string, number | Error]>([
    ['a refusal', 401],
    ['a time-out', broken('UND_ERR_HEADERS_TIMEOUT')],
    ['an abort', Object.assign(new Error('late'), { name: 'TimeoutError' })],
    ['a fault of the program', new TypeError('no url')],
  ])('does not ask again after %s', async (_what, outcome) => {
    const { fetch, asked } = script([outcome]);
    await fetch().catch(() => {});
    expect(asked()).toBe(1);
  });

  it('asks again only where nothing was sent, if told so', async () => {
    const refused = script([broken('ECONNREFUSED')], 'unsent');
    expect((await refused.fetch()).status).toBe(200);
    for (const outcome of [503, broken('ECONNRESET'), broken('UND_ERR_SOCKET')]) {
      const { fetch, asked } = script([outcome], 'unsent');
      await fetch().catch(() => {});
      expect(asked()).toBe(1);
    }
  });
});

it('secureUrl takes https, and http to this machine', () => {
  for (const url of [
    'https://a.example',
    'http://127.0.0.1:1',
    'http://localhost',
    'http://acme.localhost:1/x',
    'http://[::1]',
  ]) {
    expect(secureUrl(url)?.href).toContain(url);
  }
  for (const url of [
    'http://a.example',
    'http://localhost.example',
    'http://127.0.0.1.example',
    'https://u:p@a.example',
    'ftp://localhost',
    'a.example',
    '',
  ]) {
    expect(secureUrl(url)).toBeUndefined();
  }
});
