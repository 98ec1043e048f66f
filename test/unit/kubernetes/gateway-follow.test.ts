import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Contents } from '../../../sidecar-auth/kubernetes/gateway/contents.ts';
import { Follow, type Named } from '../../../sidecar-auth/kubernetes/gateway/follow.ts';
import { Managed } from '../../../sidecar-auth/kubernetes/gateway/managed.ts';
import { notOurselves, serviceAddresses } from '../../../sidecar-auth/kubernetes/gateway/own-addresses.ts';
import { Updates } from '../../../sidecar-auth/kubernetes/gateway/updates.ts';
import { FakeApi } from './gateway-fake-api.ts';

const named = (name: string, namespace = 'shop') => ({ metadata: { name, namespace, resourceVersion: '1' } });

function follow(api: FakeApi, path = '/things') {
  const seen: string[] = [];
  const log: string[] = [];
  const say = (_: object, text: string) => log.push(text);
  const follows = new Follow<Named>({
    api,
    path,
    onChange: (items) => seen.push([...items.keys()].join(' ')),
    log: { warn: say, info: say },
    pause: () => sleep(1),
  });
  onTestFinished(() => follows.stop());
  return { follows, seen, log };
}

const until = (holds: () => boolean) => vi.waitUntil(holds, { interval: 1 });

it('lists, then follows what the watch tells', async () => {
  const api = new FakeApi();
  api.collections['/things'] = [named('a')];
  const { follows, seen } = follow(api);
  await follows.synced;
  await until(() => api.watches.length === 1);
  api.watches[0]?.tell({ type: 'ADDED', object: named('b') });
  api.watches[0]?.tell({ type: 'BOOKMARK', object: named('') });
  api.watches[0]?.tell({ type: 'DELETED', object: named('a') });
  expect(seen).toEqual(['shop/a', 'shop/a shop/b', 'shop/b']);
});

it.each([
  ['ends', undefined],
  ['breaks', new Error('ECONNRESET')],
])('a watch that %s is followed by a list, which shows what was missed', async (_, error) => {
  const api = new FakeApi();
  api.collections['/things'] = [named('a')];
  const { seen } = follow(api);
  await until(() => api.watches.length === 1);
  api.collections['/things'] = [named('c')];
  api.watches[0]?.end(error);
  await until(() => api.watches.length === 2);
  expect(seen).toEqual(['shop/a', 'shop/c']);
});

it('a watch that began too late (410)', async () => {
  const api = new FakeApi();
  api.collections['/things'] = [named('a')];
  const { seen } = follow(api);
  await until(() => api.watches.length === 1);
  api.watches[0]?.tell({ type: 'ERROR', object: { reason: 'Expired' } });
  expect(seen).toEqual(['shop/a']);
  api.watches[0]?.end();
  await until(() => api.watches.length === 2);
  expect(seen).toHaveLength(2);
});

it('an API server that is away: what is known stays, and it is said once', async () => {
  const api = new FakeApi();
  api.collections['/things'] = [named('a')];
  const { follows, log } = follow(api);
  await until(() => api.watches.length === 1);
  api.status = 0;
  api.watches[0]?.end(new Error('ECONNRESET'));
  await until(() => api.asked.length > 5);
  expect([...follows.items.keys()]).toEqual(['shop/a']);
  expect(log.filter((text) => text.includes('can not be followed'))).toHaveLength(2); // the break, and the refusals
  api.status = 200;
  await until(() => api.watches.length === 2);
  expect(log.at(-1)).toContain('again');
});

it('the resources of the namespaces with a label', async () => {
  const api = new FakeApi();
  const path = '/apis/destination.connectivity.postern.dev/v1/destinations';
  api.collections = { [path]: [named('x', 'shop'), named('x', 'bank')], '/api/v1/namespaces': [named('shop')] };
  const quiet = { warn: () => {}, info: () => {} };
  const managed = new Managed({ api, namespaces: [], selector: 'mail=yes', onChange: () => {}, log: quiet });
  onTestFinished(() => managed.stop());
  await managed.synced;
  expect(managed.destinations.map(({ metadata }) => metadata.namespace)).toEqual(['shop']);
});

const SECRET = '/api/v1/namespaces/shop/secrets/office';
const OFFICE = { kind: 'Secret', namespace: 'shop', name: 'office' } as const;
const secret = (user: string) => ({ data: { user: Buffer.from(user).toString('base64') } });

function contents(api: FakeApi) {
  let changes = 0;
  const read = new Contents(api, () => {
    changes += 1;
  });
  onTestFinished(() => read.close());
  return { read, changes: () => changes };
}

it('reads the Secrets that are named, by name, and reads them again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const api = new FakeApi();
  const { read, changes } = contents(api);
  await read.want([OFFICE]);
  expect(read.of(OFFICE)).toEqual({ kind: 'missing' });
  api.objects[SECRET] = secret('jane');
  await vi.advanceTimersByTimeAsync(2_500);
  expect(read.of(OFFICE)).toEqual({ kind: 'data', data: { user: Buffer.from('jane') } });
  expect(changes()).toBe(1);
  // In an outage what is known stays.
  api.status = 500;
  await vi.advanceTimersByTimeAsync(11_000);
  expect(read.of(OFFICE)).toMatchObject({ kind: 'data' });
  api.status = 200;
  api.objects = {};
  await vi.advanceTimersByTimeAsync(11_000);
  expect(read.of(OFFICE)).toEqual({ kind: 'missing' });
  expect(changes()).toBe(2);
  expect(new Set(api.asked)).toEqual(new Set([SECRET]));
});

it('nothing is known of a Secret that nobody names any more', async () => {
  const api = new FakeApi();
  api.objects[SECRET] = secret('jane');
  const { read } = contents(api);
  await read.want([OFFICE]);
  await read.want([]);
  expect(read.of(OFFICE)).toMatchObject({ kind: 'unread' });
});

it('both kinds of a ConfigMap', async () => {
  const api = new FakeApi();
  api.objects['/api/v1/namespaces/shop/configmaps/office'] = { data: { a: 'x' }, binaryData: { b: 'eQ==' } };
  const { read } = contents(api);
  const reference = { ...OFFICE, kind: 'ConfigMap' } as const;
  await read.want([reference]);
  expect(read.of(reference)).toEqual({ kind: 'data', data: { a: Buffer.from('x'), b: Buffer.from('y') } });
});

it.each([
  '127.0.0.1',
  '::1',
  '0.0.0.0',
  '::',
  '169.254.169.254',
  'fe80::1',
  '::ffff:127.0.0.1',
  '10.96.0.7',
  'fd00::7',
])('a server whose name leads to %s is not asked', async (address) => {
  const ours = serviceAddresses([
    { metadata: { name: 'x' }, spec: { clusterIPs: ['10.96.0.7', 'fd00::7'] } },
    { metadata: { name: 'headless' }, spec: { clusterIP: 'None' } },
  ]);
  const resolve = notOurselves(
    async () => ({ addresses: ['192.0.2.1', address], keep: 30 }),
    () => ours,
  );
  await expect(resolve('mail.example.com')).rejects.toMatchObject({ code: 'resolve', retry: false });
});

it('any other server is', async () => {
  const resolved = { addresses: ['192.0.2.1', '2001:db8::1'], keep: 30 };
  await expect(
    notOurselves(
      async () => resolved,
      () => new Set(),
    )('mail.example.com'),
  ).resolves.toBe(resolved);
});

it('many changes are one update, and one that came meanwhile is not lost', async () => {
  let done = 0;
  const updates = new Updates(
    async () => {
      done += 1;
      if (done === 1) updates.due();
    },
    () => {},
  );
  for (let change = 0; change < 5; change++) updates.due();
  await sleep(200);
  expect(done).toBe(2);
});
