import { createHash } from 'node:crypto';
import { BUFFER_OCTETS, CONNECT_ATTEMPTS, IDLE_SECONDS, KEEPALIVE_SECONDS } from './limits.ts';

export interface EnvoyListener {
  /** The opaque id of docs/contract.md, `smtp:5b1d0c9a22f8e713`: all that Envoy's configuration holds of a destination. */
  id: string;
  /** `mode` is the Unix socket's file mode as a number (0o660), which decides who may connect. */
  address: { host: string; port: number } | { path: string; mode: number };
  /** Whether Envoy hands its connections evenly to the workers: for few, long or uneven connections. Costs a lock per connection. */
  exactBalance: boolean;
}

const TYPE = 'type.googleapis.com/envoy';

/**
 * The content of the file that Envoy watches (`listenersFile` of run-dir.ts). Replace the file by rename.
 * @param filterFile absolute path of filter.wasm; the same for all listeners, or they do not share a VM.
 */
export function listenersResource(listeners: EnvoyListener[], filterFile: string): object {
  const resources = listeners.map((listener) => listenerResource(listener, filterFile));
  return { version_info: versionOf(resources), resources };
}

/**
 * A listener's name is its address. Envoy allows an address once; so two listeners that swap their addresses are two changes
 * in place, where names made of ids would meet the other's address and be refused.
 */
export function listenerName(listener: EnvoyListener): string {
  const { address } = listener;
  if ('path' in address) return address.path;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** The same listeners have the same version: what Envoy reports (`lds.version_text`) can be compared. */
function versionOf(resources: object[]): string {
  return createHash('sha256').update(JSON.stringify(resources)).digest('hex').slice(0, 16);
}

function listenerResource(listener: EnvoyListener, filterFile: string): object {
  return {
    '@type': `${TYPE}.config.listener.v3.Listener`,
    name: listenerName(listener),
    address: addressResource(listener.address),
    per_connection_buffer_limit_bytes: BUFFER_OCTETS,
    ...('path' in listener.address ? {} : { tcp_keepalive: { keepalive_time: KEEPALIVE_SECONDS } }),
    ...(listener.exactBalance ? { connection_balance_config: { exact_balance: {} } } : {}),
    filter_chains: [{ filters: [wasm(listener.id, filterFile), shareRoute(), tcpProxy()] }],
  };
}

function addressResource(address: EnvoyListener['address']): object {
  if ('path' in address) return { pipe: { path: address.path, mode: address.mode } };
  return { socket_address: { address: address.host, port_value: address.port } };
}

/** Equal vm_config everywhere: all listeners share one VM per worker, each with a root context of its own. */
export function wasm(id: string, filterFile: string): object {
  return {
    name: 'envoy.filters.network.wasm',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.wasm.v3.Wasm`,
      config: {
        name: 'postern',
        root_id: 'postern',
        // A trap ends the sessions of its VM; without this the listener would stay dead after it.
        failure_policy: 'FAIL_RELOAD',
        configuration: { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: id },
        vm_config: {
          vm_id: 'postern',
          runtime: 'envoy.wasm.runtime.v8',
          code: { local: { filename: filterFile } },
        },
      },
    },
  };
}

/** Wasm can set filter state, but not share it with the upstream side, where the PROXY header of postern-relay reads it. */
export function shareRoute(): object {
  return {
    name: 'envoy.filters.network.set_filter_state',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.set_filter_state.v3.Config`,
      on_new_connection: [
        {
          object_key: 'mail.route',
          factory_key: 'envoy.string',
          format_string: { text_format_source: { inline_string: '%FILTER_STATE(wasm.mail_route:PLAIN)%' } },
          shared_with_upstream: 'ONCE',
          skip_if_empty: true,
        },
      ],
    },
  };
}

/** The cluster is chosen by the filter. Where it chose none, postern-blackhole has no hosts: nothing reaches a server by accident. */
export function tcpProxy(): object {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: 'postern',
      cluster: 'postern-blackhole',
      max_connect_attempts: CONNECT_ATTEMPTS,
      backoff_options: { base_interval: '0.02s', max_interval: '0.2s' },
      // Silence in both directions. No session of mail has this: IDLE is renewed every 29 minutes (RFC 2177), servers end
      // sessions after 5 to 30 minutes. Without it an app that left, and a server that ignores its end, would hold a connection for ever.
      idle_timeout: `${IDLE_SECONDS}s`,
    },
  };
}
