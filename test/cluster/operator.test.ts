import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { availableOf } from '../../sidecar-auth/kubernetes/operator/status.ts';
import { type Destination, gatewayServiceName, TENANTS_ANNOTATION } from '../../sidecar-auth/kubernetes/resource.ts';
import type { Daemon } from '../live/daemon.ts';
import { Cluster, GATEWAY_NAMESPACE, MANAGED, PLAIN } from './cluster.ts';
import { eventually } from './eventually.ts';
import { skipReason } from './programs.ts';

const reason = skipReason();
const SELECT = [
  '--managed-namespaces',
  Object.entries(MANAGED)
    .map((pair) => pair.join('='))
    .join(','),
];

describe.skipIf(reason)(reason ? `The operator (skipped: ${reason})` : 'The operator', () => {
  let cluster: Cluster;
  let leader: Daemon;

  beforeAll(async () => {
    cluster = await Cluster.start();
    await cluster.addNamespace('shop', MANAGED);
    leader = await cluster.startOperator(SELECT);
  });
  afterAll(() => cluster?.close());

  const services = (namespace: string) => cluster.names('api/v1', namespace, 'services');
  const policies = () => cluster.names('apis/networking.k8s.io/v1', GATEWAY_NAMESPACE, 'networkpolicies');
  const ports = (resources: Destination[]) =>
    resources.flatMap(({ status }) => status?.ports ?? []).map(({ port }) => port);
  const behind = (name: string, tenant?: string) => gatewayServiceName('shop', name, tenant);
  const gone = (what: string, names: () => Promise<string[]>, name: string) =>
    eventually(`${what} ${name} is gone`, async () => ((await names()).includes(name) ? undefined : true));

  test('makes Services, a NetworkPolicy, a status and an event', async () => {
    await cluster.put('shop', 'office', PLAIN);
    const { status } = await cluster.settled('shop', 'office');
    expect(status).toMatchObject({
      protocol: 'smtp',
      servicePort: 587,
      service: 'office.shop',
      ports: [{ service: 'office' }],
    });
    expect(await services('shop')).toContain('office');
    expect(await services(GATEWAY_NAMESPACE)).toContain(behind('office'));
    expect(await policies()).toContain(behind('office'));
    const service = await cluster.plane.kubectl([
      'get',
      'service',
      '-n',
      'shop',
      'office',
      '-o',
      'jsonpath={.spec.externalName}',
    ]);
    expect(service).toBe(`${behind('office')}.postern.svc.cluster.local`);
    const table = await cluster.plane.kubectl(['get', 'pdest', '-n', 'shop', 'office']);
    expect(table).toMatch(
      /NAME +PROTOCOL +SERVICE +PORT +AVAILABLE +REASON +AGE\noffice +smtp +office.shop +587 +True +ConfigurationSuccessful/,
    );
    await eventually('there is an event', async () => {
      const events = await cluster.plane.kubectl(['get', 'events', '-n', 'shop']);
      return events.includes('ConfigurationSuccessful') ? true : undefined;
    });
  });

  test('follows changes, and keeps the port of the gateway', async () => {
    const before = await cluster.get('shop', 'office');
    await cluster.put('shop', 'office', { ...PLAIN, service: { port: 2525 }, allowedNamespaces: ['web'] });
    const after = await cluster.settled('shop', 'office');
    expect(after.status).toMatchObject({ servicePort: 2525, ports: before.status?.ports });
    const policy = await cluster.plane.kubectl([
      'get',
      'networkpolicy',
      '-n',
      GATEWAY_NAMESPACE,
      behind('office'),
      '-o',
      'json',
    ]);
    expect(JSON.parse(policy).spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values).toEqual([
      'shop',
      'web',
    ]);
  });

  test('makes anew what others delete or change', async () => {
    await cluster.plane.kubectl(['delete', 'networkpolicy', '-n', GATEWAY_NAMESPACE, behind('office')]);
    await cluster.plane.kubectl([
      'patch',
      'service',
      '-n',
      'shop',
      'office',
      '--type=merge',
      '-p',
      '{"spec":{"externalName":"evil.example"}}',
    ]);
    await eventually('both are as they were', async () => {
      const name = await cluster.plane.kubectl([
        'get',
        'service',
        '-n',
        'shop',
        'office',
        '-o',
        'jsonpath={.spec.externalName}',
      ]);
      return (await policies()).includes(behind('office')) && name.startsWith(behind('office')) ? true : undefined;
    });
  });

  test('gives each subscriber a Service, and says what is wrong with an annotation', async () => {
    await cluster.put('shop', 'many', PLAIN, { [TENANTS_ANNOTATION]: '["red","blue"]' });
    await cluster.settled('shop', 'many');
    expect(await services('shop')).toEqual(expect.arrayContaining(['many-red', 'many-blue']));
    await cluster.put('shop', 'many', PLAIN, { [TENANTS_ANNOTATION]: '["blue"]' });
    await gone('the Service', () => services('shop'), 'many-red');
    await gone('the Service', () => services(GATEWAY_NAMESPACE), behind('many', 'red'));
    await cluster.put('shop', 'wrong', PLAIN, { [TENANTS_ANNOTATION]: 'red, blue' });
    await cluster.settled('shop', 'wrong', 'ConfigurationError-MultitenancyAnnotation-Invalid');
    expect(await services('shop')).not.toContain('wrong');
  });

  test('says whose a name is already: of another resource, or of a Service that it did not make', async () => {
    await cluster.put('shop', 'many-green', PLAIN);
    await cluster.settled('shop', 'many-green');
    await cluster.put('shop', 'many', PLAIN, { [TENANTS_ANNOTATION]: '["green"]' });
    await eventually('it is a duplicate', async () => {
      const { status } = await cluster.get('shop', 'many');
      return availableOf(status)?.reason === 'ConfigurationError-DuplicateDestinationCustomResource' ? true : undefined;
    });
    await cluster.remove('shop', 'many-green');
    await eventually('it has the name now', async () => {
      const { status } = await cluster.get('shop', 'many');
      return availableOf(status)?.reason === 'ConfigurationSuccessful' ? true : undefined;
    });
    await cluster.plane.kubectl(['create', 'service', 'clusterip', 'theirs', '-n', 'shop', '--tcp=80']);
    await cluster.put('shop', 'theirs', PLAIN);
    await cluster.settled('shop', 'theirs', 'ConfigurationError-K8sResourceWithNameAlreadyPresent');
    expect(await cluster.plane.kubectl(['get', 'service', '-n', 'shop', 'theirs', '-o', 'jsonpath={.spec.type}'])).toBe(
      'ClusterIP',
    );
    await cluster.plane.kubectl(['delete', 'service', '-n', 'shop', 'theirs']);
    await cluster.settled('shop', 'theirs');
  });

  test('leaves nothing behind, and a freed port rests', async () => {
    const [port] = ports([await cluster.get('shop', 'office')]);
    await cluster.remove('shop', 'office');
    await eventually('the resource is gone', async () =>
      (await cluster.list('shop')).some(({ metadata }) => metadata.name === 'office') ? undefined : true,
    );
    await gone('the Service', () => services(GATEWAY_NAMESPACE), behind('office'));
    await gone('the NetworkPolicy', policies, behind('office'));
    // The garbage collector's work.
    await gone('the Service', () => services('shop'), 'office');
    const map = await cluster.plane.kubectl([
      'get',
      'configmap',
      '-n',
      GATEWAY_NAMESPACE,
      'postern-ports',
      '-o',
      'json',
    ]);
    expect(Object.keys(JSON.parse(map).data)).toContain(String(port));
    await cluster.put('shop', 'next', PLAIN);
    expect(ports([await cluster.settled('shop', 'next')])).not.toContain(port);
  });

  test('does not touch namespaces that it is not to manage, until it is', async () => {
    await cluster.addNamespace('other');
    await cluster.put('other', 'office', PLAIN);
    await sleep(1_000);
    const { status, metadata } = await cluster.get('other', 'office');
    expect([status, metadata.finalizers]).toEqual([undefined, undefined]);
    const [[label, value] = []] = Object.entries(MANAGED);
    await cluster.plane.kubectl(['label', 'namespace', 'other', `${label}=${value}`]);
    await cluster.settled('other', 'office');
    await cluster.plane.kubectl(['label', 'namespace', 'other', `${label}-`]);
    await gone('the Service', () => services('other'), 'office');
    expect((await cluster.get('other', 'office')).metadata.finalizers).toBeUndefined();
  });

  test('never reads a Secret: it may not', async () => {
    const words = [
      'auth',
      'can-i',
      'get',
      'secrets',
      '--all-namespaces',
      '--as',
      'system:serviceaccount:postern:postern-operator',
    ];
    expect(await cluster.plane.kubectl(words).catch((error: Error) => error.message)).toContain('no');
  });

  test('killed in the middle, is followed by another that does the rest', async () => {
    await cluster.startOperator(SELECT);
    const names = Array.from({ length: 60 }, (_, index) => `kill-${index}`);
    await Promise.all(names.map((name) => cluster.put('shop', name, PLAIN)));
    await eventually('some are done', async () => {
      const done = (await cluster.list('shop')).filter(({ status }) => availableOf(status)?.status === 'True');
      return done.length > 10 ? true : undefined;
    });
    process.kill(leader.pid, 'SIGKILL');
    await Promise.all(names.slice(0, 10).map((name) => cluster.remove('shop', name)));
    for (const name of names.slice(10)) await cluster.settled('shop', name);
    await eventually('those that were to go are gone', async () => {
      const left = (await cluster.list('shop')).map(({ metadata }) => metadata.name);
      return names.slice(0, 10).some((name) => left.includes(name)) ? undefined : true;
    });
    const all = ports(await cluster.list('shop'));
    expect(new Set(all).size).toBe(all.length);
  });

  test('outlives a restart of the API server, and sees what it missed', async () => {
    await cluster.plane.restartApiServer();
    await cluster.put('shop', 'after', PLAIN);
    await cluster.remove('shop', 'next');
    await cluster.settled('shop', 'after');
    await gone('the Service', () => services(GATEWAY_NAMESPACE), behind('next'));
    await cluster.plane.stopApiServer();
    await sleep(12_000); // longer than a leader may lead without a word
    await cluster.plane.startApiServer();
    await cluster.put('shop', 'later', PLAIN);
    await cluster.settled('shop', 'later');
  });

  test('serves 500 resources, each with a port of its own', async () => {
    await cluster.addNamespace('bulk', MANAGED);
    const names = Array.from({ length: 500 }, (_, index) => `mail-${index}`);
    const since = performance.now();
    for (let at = 0; at < names.length; at += 25) {
      await Promise.all(names.slice(at, at + 25).map((name) => cluster.put('bulk', name, PLAIN)));
    }
    await eventually('all are available', async () => {
      const done = (await cluster.list('bulk')).filter(({ status }) => availableOf(status)?.status === 'True');
      return done.length === names.length ? true : undefined;
    });
    console.log(`500 resources after ${Math.round(performance.now() - since)} ms`);
    const all = ports([...(await cluster.list('bulk')), ...(await cluster.list('shop'))]);
    expect(new Set(all).size).toBe(all.length);
    await cluster.put('bulk', 'one-more', PLAIN);
    const last = performance.now();
    await cluster.settled('bulk', 'one-more');
    expect(performance.now() - last).toBeLessThan(5_000);
    await cluster.plane.kubectl(['delete', 'namespace', 'bulk', '--wait=false']);
    await eventually('nothing of it is left', async () => {
      const left = (await services(GATEWAY_NAMESPACE)).filter((name) => name.startsWith('to-bulk-'));
      return left.length === 0 ? true : undefined;
    });
  });
});
