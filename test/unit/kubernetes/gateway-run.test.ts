import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import { expect, it, onTestFinished, vi } from 'vitest';
import { startGateway } from '../../../sidecar-auth/kubernetes/gateway/run.ts';
import type { Destination } from '../../../sidecar-auth/kubernetes/resource.ts';
import { tempFolder } from '../sidecar-auth/files.ts';
import { FakeApi } from './gateway-fake-api.ts';
import { listening, session } from './gateway-session.ts';
import { OFFICE, resource } from './gateway-world.ts';

const DESTINATIONS = '/apis/destination.connectivity.postern.dev/v1/destinations';
const SERVER = { ...OFFICE, 'mail.smtps.host': '192.0.2.1' };

function secret(keys: Record<string, string>): object {
  return {
    data: Object.fromEntries(Object.entries(keys).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
  };
}

async function start(api: FakeApi, folder: string) {
  const runDir = join(folder, 'run');
  const gateway = await startGateway({
    api,
    folder: join(folder, 'private'),
    runDir,
    filterFile: '/filter.wasm',
    workers: 1,
    hosts: ['127.0.0.1'],
    gatewayNamespace: 'postern',
    namespaces: [],
    log: pino(new PassThrough().resume()),
  });
  onTestFinished(() => gateway.close());
  return { gateway, runDir };
}

it('a resource comes, its Secret too, and it goes', async () => {
  const port = 20_000 + (process.pid % 10_000);
  const api = new FakeApi();
  api.collections = { [DESTINATIONS]: [], '/api/v1/namespaces/postern/services': [] };
  const { runDir } = await start(api, tempFolder());
  expect(JSON.parse(readFileSync(join(runDir, 'envoy.json'), 'utf8'))).toHaveProperty('static_resources');
  expect(statSync(join(runDir, 'envoy.json')).mode & 0o777).toBe(0o600);
  await vi.waitUntil(() => api.watches.some(({ path }) => path === DESTINATIONS));
  const tell = (type: 'ADDED' | 'DELETED', object: Destination) =>
    api.watches.find(({ path }) => path === DESTINATIONS)?.tell({ type, object });
  tell('ADDED', resource({ ports: [port] }));
  await vi.waitUntil(() => listening(runDir).includes(`${port}`));
  expect(await session(runDir, port)).toContain('failure: unknown_destination');
  api.objects['/api/v1/namespaces/shop/secrets/office'] = secret(SERVER);
  await vi.waitUntil(async () => (await session(runDir, port)).includes('address: 192.0.2.1:465'), { timeout: 10_000 });
  const answer = await session(runDir, port);
  for (const line of ['destination: shop/office', 'user: jane', 'password: geheim-1']) expect(answer).toContain(line);
  tell('DELETED', resource({ ports: [port] }));
  await vi.waitUntil(() => !listening(runDir).includes(`${port}`));
});

it('the API server is away: what was known is used, and what it says later counts', { timeout: 40_000 }, async () => {
  const port = 30_000 + (process.pid % 10_000);
  const folder = tempFolder();
  const api = new FakeApi();
  api.collections = { [DESTINATIONS]: [resource({ ports: [port] })], '/api/v1/namespaces/postern/services': [] };
  api.objects['/api/v1/namespaces/shop/secrets/office'] = secret(SERVER);
  const first = await start(api, folder);
  await first.gateway.close();
  api.status = 0;
  const { runDir } = await start(api, folder);
  expect(await session(runDir, port)).toContain('address: 192.0.2.1:465');
  api.collections[DESTINATIONS] = [];
  api.status = 200;
  await vi.waitUntil(() => !listening(runDir).includes(`${port}`), { timeout: 25_000 });
});
