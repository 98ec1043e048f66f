import { describe, expect, test } from 'vitest';
import type { KubeObject } from '../../../sidecar-auth/kubernetes/operator/objects.ts';
import { availableOf } from '../../../sidecar-auth/kubernetes/operator/status.ts';
import {
  type Destination,
  gatewayServiceName,
  ResourceMistake,
  SAP_TENANTS_ANNOTATION,
  TENANTS_ANNOTATION,
} from '../../../sidecar-auth/kubernetes/resource.ts';
import { destination, MiniCluster } from './operator-world.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

const names = (objects: Iterable<KubeObject>) =>
  [...objects].map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`).sort();
const reasonOf = ({ status }: Destination) => availableOf(status)?.reason;
const portsOf = ({ status }: Destination) => status?.ports?.map(({ port }) => port);
const specOf = (cluster: MiniCluster, name: string) => cluster.objects.get(name)?.spec as Record<string, unknown>;

describe('a new resource', () => {
  test('gets two Services, a NetworkPolicy, a port, a finalizer and a condition', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    const behind = gatewayServiceName('shop', 'office', undefined);
    expect(names(cluster.objects.values())).toEqual([
      `NetworkPolicy postern/${behind}`,
      `Service postern/${behind}`,
      'Service shop/office',
    ]);
    expect(specOf(cluster, `Service postern/${behind}`)).toMatchObject({
      type: 'ClusterIP',
      selector: { app: 'postern' },
      ports: [{ name: 'tcp-smtp', port: 587, targetPort: 20000 }],
    });
    expect(specOf(cluster, 'Service shop/office')).toMatchObject({
      type: 'ExternalName',
      externalName: `${behind}.postern.svc.cluster.local`,
    });
    const { status, metadata } = cluster.get(key);
    expect(metadata.finalizers).toEqual(['connectivity.postern.dev/postern']);
    expect(status).toMatchObject({
      protocol: 'smtp',
      servicePort: 587,
      service: 'office.shop',
      ports: [{ port: 20000, service: 'office' }],
      conditions: [{ type: 'Available', status: 'True', reason: 'ConfigurationSuccessful' }],
    });
  });

  test('is owned where that is possible', () => {
    const cluster = new MiniCluster();
    const resource = destination('office');
    cluster.settle(cluster.put(resource));
    const owners = [...cluster.objects.values()].map(({ metadata }) => [
      metadata.namespace,
      metadata.ownerReferences?.[0]?.uid,
    ]);
    expect(new Set(owners.map(String))).toEqual(new Set(['postern,', `shop,${resource.metadata.uid}`]));
  });

  test('is left alone once all is done', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    cluster.now += DAY_MS;
    expect(cluster.plan(key)).toEqual({
      addFinalizer: false,
      take: [],
      retire: [],
      create: [],
      change: [],
      remove: [],
      removeFinalizer: false,
    });
  });

  test.each([
    ['smtp', 587],
    ['imap', 143],
    ['pop3', 110],
  ])('has the default port of %s', (protocol, port) => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office', { spec: { protocol } }));
    cluster.settle(key);
    expect(cluster.get(key).status?.servicePort).toBe(port);
  });
});

describe('a change', () => {
  test('of the port changes both Services in place', () => {
    const cluster = new MiniCluster();
    const resource = destination('office');
    const key = cluster.put(resource);
    cluster.settle(key);
    resource.spec.service = { port: 2525 };
    const plan = cluster.settle(key);
    expect(names(plan.change)).toHaveLength(2);
    expect(plan.create).toEqual([]);
    expect(cluster.get(key).status?.servicePort).toBe(2525);
    expect(portsOf(cluster.get(key))).toEqual([20000]);
  });

  test('that someone else made is undone', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    const policy = [...cluster.objects.values()].find(({ kind }) => kind === 'NetworkPolicy');
    const open = { ...policy, spec: { ...policy?.spec, ingress: [{}] } } as KubeObject;
    cluster.objects.set(`NetworkPolicy postern/${policy?.metadata.name}`, open);
    expect(names(cluster.plan(key).change)).toEqual([`NetworkPolicy postern/${policy?.metadata.name}`]);
  });

  test('keeps the time of the condition while its status stays', () => {
    const cluster = new MiniCluster();
    const resource = destination('office');
    const key = cluster.put(resource);
    cluster.settle(key);
    const before = availableOf(cluster.get(key).status)?.lastTransitionTime;
    cluster.now += 60_000;
    resource.spec.service = { port: 2525 };
    resource.metadata.generation = 2;
    cluster.settle(key);
    expect(availableOf(cluster.get(key).status)).toMatchObject({ lastTransitionTime: before, observedGeneration: 2 });
  });
});

describe('who may connect', () => {
  const sources = (spec: object) => {
    const cluster = new MiniCluster();
    cluster.settle(cluster.put(destination('office', { spec })));
    const policy = [...cluster.objects.values()].find(({ kind }) => kind === 'NetworkPolicy');
    return (policy?.spec as { ingress: { from: object; ports: object }[] } | undefined)?.ingress[0];
  };
  const only = (...values: string[]) => [
    { namespaceSelector: { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values }] } },
  ];

  test('by default its own namespace, on its own port', () => {
    expect(sources({})).toEqual({ from: only('shop'), ports: [{ protocol: 'TCP', port: 20000 }] });
  });

  test('and those that it names', () => {
    expect(sources({ allowedNamespaces: ['web', 'jobs'] })).toMatchObject({ from: only('jobs', 'shop', 'web') });
  });

  test('all, on request', () => {
    expect(sources({ accessControl: { scope: 'clusterWide' } })).toMatchObject({ from: [{ namespaceSelector: {} }] });
  });

  test.each([
    ['namespaced', 'clusterWide', [{ namespaceSelector: {} }]],
    ['clusterWide', 'namespaced', only('shop')],
  ] as const)('changes from %s to %s', (before, after, from) => {
    const cluster = new MiniCluster();
    const resource = destination('office', { spec: { accessControl: { scope: before } } });
    const key = cluster.put(resource);
    cluster.settle(key);
    resource.spec.accessControl = { scope: after };
    expect(cluster.settle(key).change.map(({ spec }) => spec)).toMatchObject([{ ingress: [{ from }] }]);
  });

  test('follows the resource even where something else in it is wrong', () => {
    const cluster = new MiniCluster();
    const resource = destination('office', { spec: { accessControl: { scope: 'clusterWide' } } });
    const key = cluster.put(resource);
    cluster.settle(key);
    resource.spec.accessControl = { scope: 'namespaced' };
    resource.metadata.annotations = { [TENANTS_ANNOTATION]: 'one, two' };
    const plan = cluster.settle(key);
    expect(reasonOf(cluster.get(key))).toBe('ConfigurationError-MultitenancyAnnotation-Invalid');
    expect(plan.change.map(({ kind }) => kind)).toEqual(['NetworkPolicy']);
    expect(portsOf(cluster.get(key))).toEqual([20000]);
  });
});

describe('subscribers', () => {
  test.each([TENANTS_ANNOTATION, SAP_TENANTS_ANNOTATION])('of %s have a Service and a port each', (annotation) => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office', { annotations: { [annotation]: '["red","blue"]' } }));
    cluster.settle(key);
    expect(cluster.get(key).status?.ports).toEqual([
      { tenant: 'red', port: 20000, service: 'office-red' },
      { tenant: 'blue', port: 20001, service: 'office-blue' },
    ]);
    expect(names(cluster.objects.values()).filter((name) => name.startsWith('Service shop'))).toEqual([
      'Service shop/office-blue',
      'Service shop/office-red',
    ]);
  });

  test('who leave lose their Service; the others keep their ports', () => {
    const cluster = new MiniCluster();
    const resource = destination('office', { annotations: { [TENANTS_ANNOTATION]: '["red","blue"]' } });
    const key = cluster.put(resource);
    cluster.settle(key);
    resource.metadata.annotations = { [TENANTS_ANNOTATION]: '["green","blue"]' };
    const plan = cluster.settle(key);
    expect(plan.retire).toEqual([20000]);
    expect(cluster.get(key).status?.ports).toEqual([
      { tenant: 'green', port: 20002, service: 'office-green' },
      { tenant: 'blue', port: 20001, service: 'office-blue' },
    ]);
    expect(cluster.objects.has('Service shop/office-red')).toBe(false);
  });

  test.each(['red, blue', '"red"', '[]', '["red","red"]', '["Red"]', '["-red"]', '[1]', `["${'x'.repeat(60)}"]`, '{}'])(
    'in the annotation %s are a mistake, and nothing is made',
    (annotation) => {
      const cluster = new MiniCluster();
      const key = cluster.put(destination('office', { annotations: { [TENANTS_ANNOTATION]: annotation } }));
      cluster.settle(key);
      expect(reasonOf(cluster.get(key))).toBe('ConfigurationError-MultitenancyAnnotation-Invalid');
      expect(cluster.objects.size).toBe(0);
      expect(portsOf(cluster.get(key))).toBeUndefined();
    },
  );
});

describe('names', () => {
  test('that two resources want belong to the older', () => {
    const cluster = new MiniCluster();
    const younger = cluster.put(destination('office-red'));
    const older = cluster.put(destination('office', { age: 10, annotations: { [TENANTS_ANNOTATION]: '["red"]' } }));
    cluster.settle(younger);
    cluster.settle(older);
    expect(reasonOf(cluster.get(younger))).toBe('ConfigurationError-DuplicateDestinationCustomResource');
    expect(reasonOf(cluster.get(older))).toBe('ConfigurationSuccessful');
  });

  test('stay with the one that has them already', () => {
    const cluster = new MiniCluster();
    const older = destination('office', { age: 10 });
    const key = cluster.put(older);
    const younger = cluster.put(destination('office-red'));
    cluster.settle(key);
    cluster.settle(younger);
    older.metadata.annotations = { [TENANTS_ANNOTATION]: '["red"]' };
    cluster.settle(key);
    expect(reasonOf(cluster.get(key))).toBe('ConfigurationError-DuplicateDestinationCustomResource');
    cluster.settle(younger);
    expect(reasonOf(cluster.get(younger))).toBe('ConfigurationSuccessful');
  });

  test('are free again when their holder goes', () => {
    const cluster = new MiniCluster();
    const first = cluster.put(destination('office-red', { age: 10 }));
    const second = cluster.put(destination('office', { annotations: { [TENANTS_ANNOTATION]: '["red"]' } }));
    cluster.settle(first);
    cluster.settle(second);
    cluster.remove(first);
    cluster.settle(first);
    cluster.settle(second);
    expect(reasonOf(cluster.get(second))).toBe('ConfigurationSuccessful');
  });

  test('of Services that others made are left alone', () => {
    const cluster = new MiniCluster();
    cluster.foreign.add('shop/office');
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    expect(reasonOf(cluster.get(key))).toBe('ConfigurationError-K8sResourceWithNameAlreadyPresent');
    expect(cluster.objects.size).toBe(0);
    cluster.foreign.clear();
    cluster.settle(key);
    expect(reasonOf(cluster.get(key))).toBe('ConfigurationSuccessful');
  });

  test('in the gateway namespace are different for a-b/c and a/b-c', () => {
    expect(gatewayServiceName('a-b', 'c', undefined)).not.toBe(gatewayServiceName('a', 'b-c', undefined));
    expect(gatewayServiceName('a', 'b', 'c')).not.toBe(gatewayServiceName('a', 'b-c', undefined));
    expect(gatewayServiceName('n'.repeat(63), 'm'.repeat(63), 't').length).toBeLessThanOrEqual(63);
  });
});

describe('a resource that goes', () => {
  test('leaves nothing, and its port rests for a day', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    cluster.remove(key);
    cluster.settle(key);
    expect(cluster.objects.size).toBe(0);
    expect(cluster.resources.size).toBe(0);
    const next = cluster.put(destination('other'));
    cluster.settle(next);
    expect(portsOf(cluster.get(next))).toEqual([20001]);
    cluster.now += DAY_MS;
    const later = cluster.put(destination('later'));
    cluster.settle(later);
    expect(portsOf(cluster.get(later))).toEqual([20000]);
  });

  test('and comes again has its port again', () => {
    const cluster = new MiniCluster();
    for (let i = 0; i < 10; i++) {
      const key = cluster.put(destination('office'));
      cluster.settle(key);
      expect(portsOf(cluster.get(key))).toEqual([20000]);
      cluster.remove(key);
      cluster.settle(key);
    }
  });

  test('and comes again after a day gives no port to two subscribers', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office', { annotations: { [TENANTS_ANNOTATION]: '["red"]' } }));
    cluster.settle(key);
    cluster.remove(key);
    cluster.settle(key);
    cluster.now += DAY_MS;
    cluster.put(destination('office', { annotations: { [TENANTS_ANNOTATION]: '["blue","red"]' } }));
    cluster.settle(key);
    expect(portsOf(cluster.get(key))).toEqual([20000, 20001]);
  });

  test('without its finalizer is cleaned up after', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    cluster.resources.delete(key);
    const plan = cluster.settle(key);
    expect(plan.retire).toEqual([20000]);
    expect(cluster.objects.size).toBe(0);
  });

  test('before anything was made for it is let go', () => {
    const cluster = new MiniCluster();
    const resource = destination('office');
    const key = cluster.put(resource);
    cluster.remove(key);
    expect(cluster.plan(key)).toMatchObject({ addFinalizer: false, removeFinalizer: false, create: [] });
  });
});

describe('namespaces that are not managed', () => {
  test('are not touched', () => {
    const cluster = new MiniCluster();
    cluster.unmanaged.add('shop');
    const key = cluster.put(destination('office'));
    const plan = cluster.settle(key);
    expect(plan).toMatchObject({ addFinalizer: false, create: [], removeFinalizer: false });
    expect(cluster.get(key).status).toBeUndefined();
  });

  test('are given up: nothing of ours stays in them', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    cluster.unmanaged.add('shop');
    cluster.settle(key);
    expect(cluster.objects.size).toBe(0);
    expect(cluster.get(key)).toMatchObject({ status: {}, metadata: { finalizers: [] } });
  });
});

test('when no port is left the resource says so', () => {
  const cluster = new MiniCluster();
  const keys = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => cluster.put(destination(name)));
  for (const key of keys) cluster.settle(key);
  expect(keys.map((key) => reasonOf(cluster.get(key)))).toEqual([
    ...Array(5).fill('ConfigurationSuccessful'),
    'FailedToApplyConfiguration',
  ]);
});

describe('a destination of the Destination service without a protocol', () => {
  const service = { destinationRef: { name: 'office' }, secretRef: undefined, protocol: undefined };

  test('is what the service says', () => {
    const cluster = new MiniCluster();
    cluster.looked = 'imaps';
    const key = cluster.put(destination('office', { spec: service }));
    cluster.settle(key);
    expect(cluster.get(key).status).toMatchObject({ protocol: 'imap', servicePort: 993 });
  });

  test('fails with what the service says', () => {
    const cluster = new MiniCluster();
    cluster.looked = new ResourceMistake('ConfigurationError-ReferencedDestination-NotFound', 'none');
    const key = cluster.put(destination('office', { spec: service }));
    cluster.settle(key);
    expect(reasonOf(cluster.get(key))).toBe('ConfigurationError-ReferencedDestination-NotFound');
  });

  test('fails where there is no service to ask', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office', { spec: service }));
    cluster.settle(key);
    expect(availableOf(cluster.get(key).status)?.message).toContain('spec.protocol');
  });
});

describe('mode istio', () => {
  const mesh = (port: number, labels: object = { app: 'web' }) => ({
    spec: { mode: 'istio', service: { port }, workloadSelector: { matchLabels: labels } },
  });

  test('makes a Service, a filter of its own and one for the pods, and takes no port of the gateway', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office', mesh(2587)));
    cluster.settle(key);
    expect([...cluster.objects.values()].map(({ kind }) => kind).sort()).toEqual([
      'EnvoyFilter',
      'EnvoyFilter',
      'Service',
    ]);
    expect(cluster.get(key).status).toMatchObject({ servicePort: 2587, service: 'office.shop' });
    expect(portsOf(cluster.get(key))).toBeUndefined();
    expect(cluster.plan(key)).toMatchObject({ create: [], change: [], remove: [] });
  });

  test('shares what the pods need once; it goes with the last', () => {
    const cluster = new MiniCluster();
    const one = cluster.put(destination('one', mesh(2587)));
    const two = cluster.put(destination('two', mesh(2588)));
    for (const key of [one, two, one]) cluster.settle(key);
    const shared = [...cluster.objects.values()].filter(({ metadata }) => !metadata.annotations);
    expect(shared.map(({ metadata }) => metadata.ownerReferences?.length)).toEqual([2]);
    cluster.get(one).spec = { secretRef: { name: 'mail' }, protocol: 'smtp' };
    cluster.settle(one);
    expect([...cluster.objects.values()].filter(({ metadata }) => !metadata.annotations)).toHaveLength(1);
    cluster.settle(two);
    cluster.get(two).spec = { secretRef: { name: 'mail' }, protocol: 'smtp' };
    cluster.settle(two);
    expect([...cluster.objects.values()].filter(({ kind }) => kind === 'EnvoyFilter')).toEqual([]);
  });

  test('refuses a port that another resource of the namespace has', () => {
    const cluster = new MiniCluster();
    const one = cluster.put(destination('one', mesh(2587)));
    cluster.settle(one);
    const two = cluster.put(destination('two', { age: 10, ...mesh(2587, { app: 'jobs' }) }));
    cluster.settle(two);
    expect(reasonOf(cluster.get(two))).toBe('ConfigurationError-DuplicateDestinationCustomResource');
    cluster.settle(one);
    expect(reasonOf(cluster.get(one))).toBe('ConfigurationSuccessful');
  });

  test('leaves the gateway: its Services and policy go, and its port rests', () => {
    const cluster = new MiniCluster();
    const key = cluster.put(destination('office'));
    cluster.settle(key);
    Object.assign(cluster.get(key).spec, mesh(2587).spec);
    const plan = cluster.settle(key);
    expect(plan.retire).toEqual([20000]);
    expect([...cluster.objects.values()].filter(({ metadata }) => metadata.namespace === 'postern')).toEqual([]);
  });
});
