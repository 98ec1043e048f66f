import { expect, test } from 'vitest';
import { type EnvoyListener, listenerName, listenersResource } from '../../../envoy/listener.ts';

const TCP: EnvoyListener = { id: 'smtp:a', address: { host: '127.0.0.1', port: 1587 }, exactBalance: false };
const PIPE: EnvoyListener = { id: 'imap:b', address: { path: '/tmp/imap.sock', mode: 0o660 }, exactBalance: true };

interface Resource {
  version_info: string;
  resources: {
    name: string;
    address: object;
    connection_balance_config?: object;
    // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration, looked at here and there
    filter_chains: { filters: { name: string; typed_config: any }[] }[];
  }[];
}

function made(...listeners: EnvoyListener[]): Resource {
  return listenersResource(listeners, '/lib/filter.wasm') as Resource;
}

function filters(resource: Resource, index: number) {
  return resource.resources[index]?.filter_chains[0]?.filters ?? [];
}

test('addresses, modes and balance', () => {
  const [tcp, pipe] = made(TCP, PIPE).resources;
  expect(tcp?.address).toEqual({ socket_address: { address: '127.0.0.1', port_value: 1587 } });
  expect(tcp).not.toHaveProperty('connection_balance_config');
  expect(pipe?.address).toEqual({ pipe: { path: '/tmp/imap.sock', mode: 0o660 } });
  expect(pipe?.connection_balance_config).toEqual({ exact_balance: {} });
});

test('the filter stands before what shares its route, and that before tcp_proxy', () => {
  expect(filters(made(TCP), 0).map(({ name }) => name)).toEqual([
    'envoy.filters.network.wasm',
    'envoy.filters.network.set_filter_state',
    'envoy.filters.network.tcp_proxy',
  ]);
});

test('listeners differ in nothing but their id, and so share a VM', () => {
  const both = made(TCP, PIPE);
  const [a, b] = [filters(both, 0)[0]?.typed_config.config, filters(both, 1)[0]?.typed_config.config];
  expect(a.vm_config).toEqual(b.vm_config);
  expect([a.configuration.value, b.configuration.value]).toEqual(['smtp:a', 'imap:b']);
});

test('a connection without a route reaches nothing, and an idle session is not cut within an hour', () => {
  expect(filters(made(TCP), 0)[2]?.typed_config).toMatchObject({ cluster: 'postern-blackhole', idle_timeout: '7200s' });
});

test('the version changes with the content and with nothing else', () => {
  expect(made(TCP).version_info).toBe(made({ ...TCP }).version_info);
  expect(made(TCP).version_info).not.toBe(made({ ...TCP, id: 'smtp:other' }).version_info);
});

test('names are addresses', () => {
  expect([TCP, PIPE, { ...TCP, address: { host: '::1', port: 25 } }].map(listenerName)).toEqual([
    '127.0.0.1:1587',
    '/tmp/imap.sock',
    '[::1]:25',
  ]);
});
