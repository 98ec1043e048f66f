import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { expect, it, onTestFinished } from 'vitest';
import { ApiServer, type WatchEvent } from '../../../sidecar-auth/kubernetes/gateway/api.ts';
import { drained, drainPage } from '../../../sidecar-auth/kubernetes/gateway/drain.ts';
import { tempFolder } from '../sidecar-auth/files.ts';

async function serve(handler: RequestListener, at: string | { host: string; port: number }): Promise<Server> {
  const server = createServer(handler);
  server.listen(at);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return server;
}

const LOCAL = { host: '127.0.0.1', port: 0 };

async function apiServer(handler: RequestListener): Promise<ApiServer> {
  const { port } = (await serve(handler, LOCAL)).address() as AddressInfo;
  const config = new KubeConfig();
  config.loadFromOptions({
    // Plain HTTP is refused by the library without it.
    clusters: [{ name: 'c', server: `http://127.0.0.1:${port}`, skipTLSVerify: true }],
    users: [{ name: 'u', token: 'token-1' }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  const api = new ApiServer(config);
  onTestFinished(() => api.close());
  return api;
}

it('asks with the token, and tells the status', async () => {
  const api = await apiServer((request, response) => {
    response.statusCode = request.headers.authorization === 'Bearer token-1' ? 404 : 401;
    response.end(JSON.stringify({ url: request.url }));
  });
  expect(await api.get('/api/v1/secrets', { a: 'b c' })).toEqual({
    status: 404,
    body: { url: '/api/v1/secrets?a=b+c' },
  });
});

it('events of a watch, however they are cut', async () => {
  const text = ['ä', 'b'].map((name) => `${JSON.stringify({ type: 'ADDED', object: { name } })}\n`).join('');
  const api = await apiServer(async (_, response) => {
    for (const octet of Buffer.from(text)) {
      response.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    response.end();
  });
  const seen: WatchEvent[] = [];
  await api.watch('/x', {}, (event) => seen.push(event));
  expect(seen).toEqual([
    { type: 'ADDED', object: { name: 'ä' } },
    { type: 'ADDED', object: { name: 'b' } },
  ]);
});

it('a watch that breaks, is refused, or is closed', async () => {
  let status = 200;
  const api = await apiServer((_, response) => {
    response.writeHead(status).write('{');
    if (status === 200) setTimeout(() => response.destroy(), 10);
    else response.end();
  });
  await expect(api.watch('/x', {}, () => {})).rejects.toThrow();
  status = 410;
  await expect(api.watch('/x', {}, () => {})).rejects.toThrow('410');
  status = 201;
  const watched = api.watch('/x', {}, () => {});
  api.close();
  await expect(watched).rejects.toThrow();
});

/** Envoy's admin interface with so many sessions. */
async function admin(sessions: () => number): Promise<string> {
  const socket = join(tempFolder(), 'admin.sock');
  await serve((_, response) => {
    response.end(
      'listener.admin.downstream_cx_active: 1\n' +
        'listener._run_fallback-smtp.sock.downstream_cx_active: 1\n' +
        `listener.10.1.2.3_20000.downstream_cx_active: ${sessions()}\n`,
    );
  }, socket);
  return socket;
}

it('waits for the sessions of Envoy, and for no Envoy', async () => {
  let looks = 0;
  await drained(
    await admin(() => {
      looks += 1;
      return looks < 3 ? 2 : 0;
    }),
    0,
  );
  expect(looks).toBe(3);
  await drained(join(tempFolder(), 'no.sock'));
});

it('the end of a pod: an answer when there is no session, and none for who only says so', async () => {
  let deletionTimestamp: string | undefined;
  let ended = 0;
  const api = await apiServer((_, response) => response.end(JSON.stringify({ metadata: { deletionTimestamp } })));
  const drain = drainPage({
    api,
    pod: { namespace: 'postern', name: 'gateway-1' },
    adminSocket: await admin(() => 0),
    onEnd: () => {
      ended += 1;
    },
    log: { info: () => {}, warn: () => {} },
  });
  expect([(await drain()).status, ended]).toEqual([403, 0]);
  deletionTimestamp = '2026-01-01T00:00:00Z';
  expect([(await drain()).status, ended]).toEqual([200, 1]);
});
