import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Api } from '../../../sidecar-auth/kubernetes/operator/api.ts';
import { Operator } from '../../../sidecar-auth/kubernetes/operator/operator.ts';
import { availableOf } from '../../../sidecar-auth/kubernetes/operator/status.ts';
import {
  API_VERSION,
  type DestinationStatus,
  gatewayServiceName,
  KIND,
} from '../../../sidecar-auth/kubernetes/resource.ts';
import { FakeApiServer } from './operator-fake-api.ts';
import { SETTINGS } from './operator-world.ts';

const RANGE = { first: 20000, last: 20999 };

let server: FakeApiServer;
let api: Api;
let term: AbortController;
let done: Promise<void>;

const destinationPath = (name: string, namespace = 'shop') =>
  `/apis/${API_VERSION}/namespaces/${namespace}/destinations/${name}`;
const servicePath = (name: string, namespace = 'shop') => `/api/v1/namespaces/${namespace}/services/${name}`;
const behind = (name: string) => servicePath(gatewayServiceName('shop', name, undefined), 'postern');
const policyPath = (name: string) =>
  `/apis/networking.k8s.io/v1/namespaces/postern/networkpolicies/${gatewayServiceName('shop', name, undefined)}`;

function put(name: string, spec: object = {}): void {
  const before = server.get(destinationPath(name));
  const whole = { secretRef: { name: 'mail' }, protocol: 'smtp', ...spec };
  server.put(destinationPath(name), {
    apiVersion: API_VERSION,
    kind: KIND,
    spec: whole,
    metadata: { finalizers: before?.metadata.finalizers },
  });
}

const statusOf = (name: string) => server.get(destinationPath(name))?.status as DestinationStatus | undefined;
const reasonOf = (name: string) => availableOf(statusOf(name))?.reason;
const portOf = (name: string) => statusOf(name)?.ports?.[0]?.port;

function begin(managedNamespaces?: string): void {
  term = new AbortController();
  const settings = { ...SETTINGS, ports: RANGE, istio: false };
  const log = pino({ level: 'silent' });
  const operator = new Operator({
    config: server.config,
    api,
    settings,
    log,
    ...(managedNamespaces && { managedNamespaces }),
  });
  done = operator.run(term.signal);
}

async function end(): Promise<void> {
  term.abort();
  await done;
}

beforeEach(async () => {
  server = await FakeApiServer.start();
  api = new Api(server.config);
});

afterEach(async () => {
  await end();
  api.close();
  server.close();
});

const soon = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 10 });

test('a resource comes, changes and goes', async () => {
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  for (const path of [servicePath('office'), behind('office'), policyPath('office')])
    expect(server.get(path)).toBeDefined();
  put('office', { service: { port: 2525 } });
  await soon(() => expect(statusOf('office')?.servicePort).toBe(2525));
  expect(server.get(servicePath('office'))?.spec).toMatchObject({ ports: [{ port: 2525 }] });
  server.delete(destinationPath('office'));
  await soon(() => expect(server.get(destinationPath('office'))).toBeUndefined());
  for (const path of [behind('office'), policyPath('office')]) expect(server.get(path)).toBeUndefined();
  expect(server.get('/api/v1/namespaces/postern/configmaps/postern-ports')).toMatchObject({
    data: { 20000: expect.any(String) },
  });
});

test('the port stands in the status before anything leads there', async () => {
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  const writes = server.asked.filter((line) => /^(PUT|PATCH)/.test(line)).map((line) => line.replace(/.*\//, ''));
  expect(writes.slice(0, 3)).toEqual(['office', 'status', gatewayServiceName('shop', 'office', undefined)]);
});

test('is quiet when there is nothing to do', async () => {
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const asked = server.asked.length;
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(server.asked.length).toBe(asked);
});

test('what happened while no watch was there is seen', async () => {
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  server.breakWatches();
  server.delete(behind('office'));
  put('other');
  await soon(() => expect(reasonOf('other')).toBe('ConfigurationSuccessful'));
  await soon(() => expect(server.get(behind('office'))).toBeDefined());
});

test.each([
  ['the finalizer', /^PATCH .*\/destinations\/office$/],
  ['the status', /^PUT .*\/status$/],
  ['a Service', /^PATCH .*\/services\//],
  ['the NetworkPolicy', /^PATCH .*\/networkpolicies\//],
])('a fault at %s is made up for, with the same port', async (_, match) => {
  server.failures = [{ match, status: 503, times: 2 }];
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  expect(portOf('office')).toBe(20000);
});

test('a refusal of the API server is told in the status', async () => {
  server.failures = [{ match: /^PATCH .*\/networkpolicies\//, status: 403, times: 3 }];
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('FailedToApplyConfiguration'));
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
});

test('another operator goes on with the same ports, and cleans up what its predecessor left', async () => {
  begin();
  for (const name of ['one', 'two', 'three']) put(name);
  await soon(() => expect(['one', 'two', 'three'].map(reasonOf)).toEqual(Array(3).fill('ConfigurationSuccessful')));
  const before = ['one', 'two', 'three'].map(portOf);
  await end();
  // Somebody takes a finalizer away: the resource goes without a word.
  server.objects.delete(destinationPath('two'));
  server.delete(servicePath('three'));
  begin();
  put('four');
  await soon(() => expect(reasonOf('four')).toBe('ConfigurationSuccessful'));
  await soon(() => expect(server.get(behind('two'))).toBeUndefined());
  await soon(() => expect(server.get(servicePath('three'))).toBeDefined());
  expect(['one', 'three'].map(portOf)).toEqual([before[0], before[2]]);
  expect(before).not.toContain(portOf('four'));
});

test("a status that somebody wrote takes nobody's port", async () => {
  begin();
  put('office');
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
  await end();
  put('aaa');
  const forged = { ports: [{ port: 20000, service: 'aaa' }], conditions: [] };
  server.put(destinationPath('aaa'), { ...server.get(destinationPath('aaa')), status: forged });
  begin();
  await soon(() => expect(reasonOf('aaa')).toBe('ConfigurationSuccessful'));
  expect([portOf('office'), portOf('aaa')]).toEqual([20000, 20001]);
});

test('200 resources at once have 200 ports', async () => {
  begin();
  const names = Array.from({ length: 200 }, (_, index) => `mail-${index}`);
  for (const name of names) put(name);
  await vi.waitFor(() => expect(names.every((name) => reasonOf(name) === 'ConfigurationSuccessful')).toBe(true), {
    timeout: 20_000,
    interval: 50,
  });
  expect(new Set(names.map(portOf)).size).toBe(names.length);
}, 30_000);

test('only namespaces with the label are looked after', async () => {
  const namespace = (labels: object) =>
    server.put('/api/v1/namespaces/shop', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { labels, namespace: undefined },
    });
  namespace({});
  begin('managed=yes');
  put('office');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(statusOf('office')).toBeUndefined();
  namespace({ managed: 'yes' });
  await soon(() => expect(reasonOf('office')).toBe('ConfigurationSuccessful'));
});
