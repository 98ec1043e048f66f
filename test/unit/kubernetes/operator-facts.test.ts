import { expect, test } from 'vitest';
import { factsOf, type State } from '../../../sidecar-auth/kubernetes/operator/facts.ts';
import type { Operator } from '../../../sidecar-auth/kubernetes/operator/operator.ts';
import { readOptions } from '../../../sidecar-auth/kubernetes/operator/options.ts';
import { openMetrics } from '../../../sidecar-auth/observe/openmetrics.ts';
import { destination, MiniCluster } from './operator-world.ts';

const state = (more: Partial<State> = {}): State => ({ operator: undefined, lastContact: performance.now(), ...more });

test('who waits for its turn is ready as long as the API server answers', async () => {
  expect(await factsOf(state()).notReady()).toEqual([]);
  expect(await factsOf(state({ lastContact: performance.now() - 60_000 })).notReady()).toHaveLength(1);
});

test('a leader is ready when it has seen all resources, and counts them', async () => {
  const cluster = new MiniCluster();
  const keys = [cluster.put(destination('one')), cluster.put(destination('two'))];
  cluster.settle(keys[0] ?? '');
  const operator = { isReady: false, resources: keys.map((key) => cluster.get(key)) };
  const facts = factsOf(state({ operator: operator as unknown as Operator }));
  expect(await facts.notReady()).toHaveLength(1);
  operator.isReady = true;
  expect(await facts.notReady()).toEqual([]);
  const text = openMetrics(await facts.families());
  expect(text).toContain('postern_operator_leader 1');
  expect(text).toContain('tp_destination_crs{Available="True"} 1');
  expect(text).toContain('tp_destination_crs{Available="Unknown"} 1');
});

test('the words of the command line', () => {
  const words = [
    '--gateway-namespace',
    'mail',
    '--managed-namespaces',
    'a=b',
    '--ports',
    '20000-20009',
    '--observe',
    '127.0.0.1:9494',
  ];
  expect(readOptions(words)).toMatchObject({
    settings: {
      gatewayNamespace: 'mail',
      ports: { first: 20000, last: 20009 },
      defaultScope: 'namespaced',
      istio: false,
    },
    managedNamespaces: 'a=b',
    observe: { host: '127.0.0.1', port: 9494 },
    lease: { name: 'postern-operator', namespace: 'mail' },
  });
  expect(readOptions(words.with(3, 'all')).managedNamespaces).toBeUndefined();
  expect(readOptions(words.with(7, ':9494')).observe?.port).toBe(9494);
  for (const wrong of [
    [],
    words.with(5, '80-90'),
    words.with(5, '30000-20000'),
    [...words, '--default-scope', 'all'],
  ]) {
    expect(() => readOptions(wrong)).toThrow();
  }
});
