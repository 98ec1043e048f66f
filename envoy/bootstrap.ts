import { clusters } from './clusters.ts';
import { fallbackClusters, fallbackListeners } from './fallback.ts';
import { MAX_DOWNSTREAM_CONNECTIONS } from './limits.ts';
import { runDirFiles } from './run-dir.ts';

export interface BootstrapOptions {
  /** Absolute path; where the sockets and the listeners' file are, see run-dir.ts. */
  runDir: string;
  /** PEM file with the CAs that direct TLS trusts. */
  caFile: string;
  /** For TCP and TLS together, each attempt; 5 by default, so that two addresses and the fallback fit into a minute. */
  connectTimeoutSeconds?: number;
}

/** Envoy's configuration file as an object (JSON). The listeners of destinations come from a file of their own: listener.ts. */
export function bootstrap({ runDir, caFile, connectTimeoutSeconds = 5 }: BootstrapOptions): object {
  const files = runDirFiles(runDir);
  return {
    node: { id: 'postern', cluster: 'postern' },
    admin: {
      address: { pipe: { path: files.adminSocket, mode: 0o600 } },
      // Whoever looks why nothing goes through any more must get in.
      ignore_global_conn_limit: true,
    },
    dynamic_resources: {
      lds_config: { resource_api_version: 'V3', path_config_source: { path: files.listenersFile } },
    },
    static_resources: {
      listeners: fallbackListeners(runDir),
      clusters: [...clusters({ ...files, caFile, connectTimeoutSeconds }), ...fallbackClusters(runDir)],
    },
    overload_manager: overloadManager(),
  };
}

function overloadManager(): object {
  return {
    resource_monitors: [
      {
        name: 'envoy.resource_monitors.global_downstream_max_connections',
        typed_config: {
          '@type':
            'type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
          max_active_downstream_connections: MAX_DOWNSTREAM_CONNECTIONS,
        },
      },
    ],
  };
}
