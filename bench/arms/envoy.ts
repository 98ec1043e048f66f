import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { envoyState } from '../../envoy/admin.ts';
import { directCluster, directTlsCluster, pipeCluster } from '../../envoy/clusters.ts';
import { BUFFER_OCTETS } from '../../envoy/limits.ts';
import { freePorts } from '../../test/live/daemon.ts';
import type { Arm, ArmOptions, Protocol } from './arm.ts';
import { PROTOCOLS, WORKERS } from './arm.ts';

const TYPE = 'type.googleapis.com/envoy';

export interface EnvoyOptions extends ArmOptions {
  envoy: string;
  name: string;
  /** TLS to the server; the app still speaks in clear. */
  tls?: boolean;
  /** A pool for each connection of an app, as Postern has by default, or one for all. */
  poolPerConnection?: boolean;
  /** A filter that stands before tcp_proxy. */
  wasm?: string;
  /** Unix sockets that it leads to, in place of the server. */
  sockets?: Record<Protocol, string>;
}

/** Envoy alone: the same clusters as Postern's, with an address of their own, and tcp_proxy. */
export async function startEnvoyArm(options: EnvoyOptions): Promise<Arm> {
  const ports = await freePorts(PROTOCOLS.length);
  const adminSocket = join(options.directory, 'admin.sock');
  const file = join(options.directory, 'envoy.json');
  writeFileSync(file, JSON.stringify(bootstrap(options, ports, adminSocket)));
  const child = spawn(
    options.envoy,
    ['-c', file, '--concurrency', String(WORKERS), '--disable-hot-restart', '--log-level', 'error'],
    { detached: true, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await started(child, adminSocket);
  return {
    name: options.name,
    ports: Object.fromEntries(PROTOCOLS.map((protocol, index) => [protocol, ports[index] as number])),
    pids: () => [child.pid as number],
    stop: () => ended(child),
  };
}

async function started(child: ChildProcess, adminSocket: string): Promise<void> {
  while (child.exitCode === null) {
    const state = await envoyState(adminSocket).catch(() => undefined);
    if (state?.started && state.listeners.size === PROTOCOLS.length) return;
    await sleep(20);
  }
  throw new Error('Envoy did not start');
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill();
  await gone;
}

function bootstrap(options: EnvoyOptions, ports: number[], adminSocket: string): object {
  return {
    node: { id: 'bench', cluster: 'bench' },
    admin: { address: { pipe: { path: adminSocket } } },
    static_resources: {
      listeners: PROTOCOLS.map((protocol, index) => listener(protocol, ports[index] as number, options.wasm)),
      clusters: PROTOCOLS.map((protocol) => cluster(protocol, options)),
    },
  };
}

function listener(protocol: Protocol, port: number, wasm: string | undefined): object {
  const tcpProxy = {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: protocol,
      cluster: protocol,
    },
  };
  return {
    name: protocol,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    per_connection_buffer_limit_bytes: BUFFER_OCTETS,
    filter_chains: [{ filters: [...(wasm ? [wasmFilter(wasm)] : []), tcpProxy] }],
  };
}

function wasmFilter(filename: string): object {
  return {
    name: 'envoy.filters.network.wasm',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.wasm.v3.Wasm`,
      config: {
        name: 'bench',
        root_id: 'bench',
        vm_config: { vm_id: 'bench', runtime: 'envoy.wasm.runtime.v8', code: { local: { filename } } },
      },
    },
  };
}

/** As Postern's own, but for the address, which no filter sets here. */
function cluster(protocol: Protocol, options: EnvoyOptions): object {
  const { tls, poolPerConnection = true, upstream, ca, sockets } = options;
  if (sockets) {
    return {
      ...pipeCluster(protocol, sockets[protocol]),
      connection_pool_per_downstream_connection: poolPerConnection,
    };
  }
  const {
    lb_policy: _,
    transport_socket: transport,
    ...rest
  } = (tls ? directTlsCluster(5, ca) : directCluster(5)) as Record<string, unknown>;
  const port = upstream[tls ? `${protocol}s` : protocol];
  return {
    ...rest,
    ...(transport ? { transport_socket: named(transport) } : {}),
    name: protocol,
    type: 'STATIC',
    connection_pool_per_downstream_connection: poolPerConnection,
    load_assignment: {
      cluster_name: protocol,
      endpoints: [
        {
          lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }],
        },
      ],
    },
  };
}

function named(transport: unknown): object {
  const { typed_config, ...rest } = transport as { typed_config: object };
  return { ...rest, typed_config: { ...typed_config, sni: 'localhost' } };
}
