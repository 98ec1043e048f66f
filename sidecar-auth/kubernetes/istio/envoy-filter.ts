import { clusters } from '../../../envoy/clusters.ts';
import { fallbackClusters, fallbackListeners } from '../../../envoy/fallback.ts';
import { connectSeconds } from '../../../envoy/limits.ts';
import { shareRoute, tcpProxy, wasm } from '../../../envoy/listener.ts';
import type { Manifest } from './manifest.ts';
import { meshFiles } from './run-dir.ts';

/** The pods whose proxies get the filter: of applications (their sidecars' outbound side), or of an egress gateway. */
export interface Workload {
  /** Of the EnvoyFilter; those of its destinations begin with it. */
  name: string;
  /** Where the pods are: an EnvoyFilter selects none of another namespace (but in Istio's root namespace). */
  namespace: string;
  labels: Record<string, string>;
  kind: 'sidecar' | 'egress';
}

/** A port that leads to a destination. */
export interface MeshListener {
  /** As sidecar-auth, beside the proxy, computes it (docs/contract.md): listenerId of this folder. */
  id: string;
  /** Of the Service; at an egress gateway the one that the pod listens on. It must be the destination's own: see filtersAt. */
  port: number;
}

export interface Options {
  /** By default the one of the injection template. */
  runDir?: string;
  /** FILE's. */
  loginTimeout?: number;
}

interface Patch {
  applyTo: 'CLUSTER' | 'LISTENER' | 'EXTENSION_CONFIG' | 'NETWORK_FILTER';
  match: { context: Context; listener?: object };
  patch: { operation: 'ADD' | 'INSERT_BEFORE' | 'MERGE'; value: object };
}

type Context = 'SIDECAR_OUTBOUND' | 'GATEWAY';

const CONTEXTS: Record<Workload['kind'], Context> = { sidecar: 'SIDECAR_OUTBOUND', egress: 'GATEWAY' };

/** After filters of others that have no priority (0), and said at all: without it the order of two EnvoyFilters is their age's. */
const PRIORITY = 10;

/** Seconds, as in FILE by default. */
const LOGIN_TIMEOUT = 30;

const TCP_PROXY = 'envoy.filters.network.tcp_proxy';
const EXTENSIONS = 'type.googleapis.com/envoy.extensions.filters.network';

/** Once per workload: clusters and fallback listeners, the same as in Envoy's bootstrap. */
export function workloadFilter(workload: Workload, { runDir, loginTimeout = LOGIN_TIMEOUT }: Options = {}): Manifest {
  const files = meshFiles(runDir);
  const match = { context: CONTEXTS[workload.kind] };
  const added = (applyTo: 'CLUSTER' | 'LISTENER', values: object[]) =>
    values.map((value): Patch => ({ applyTo, match, patch: { operation: 'ADD', value } }));
  return envoyFilter(workload, workload.name, [
    ...added('CLUSTER', clusters({ ...files, connectTimeoutSeconds: connectSeconds(loginTimeout) })),
    ...added('CLUSTER', fallbackClusters(files.runDir)),
    ...added('LISTENER', fallbackListeners(files.runDir)),
  ]);
}

/** Once per destination. A change of it, or of other destinations, cuts no session: the filter comes by ECDS. */
export function destinationFilter(workload: Workload, { id, port }: MeshListener, { runDir }: Options = {}): Manifest {
  const context = CONTEXTS[workload.kind];
  const name = `postern-${port}`;
  const { typed_config } = wasm(id, meshFiles(runDir).filterFile) as { typed_config: object };
  return envoyFilter(workload, `${workload.name}-${port}`, [
    { applyTo: 'EXTENSION_CONFIG', match: { context }, patch: { operation: 'ADD', value: { name, typed_config } } },
    filtersAt(context, port, 'INSERT_BEFORE', discovered(name)),
    filtersAt(context, port, 'INSERT_BEFORE', shareRoute()),
    filtersAt(context, port, 'MERGE', tcpProxy()),
  ]);
}

/**
 * By port, because a Service's listener has no name that is known before. So it touches every Service of that port that these pods use; a port number
 * that nothing else in the mesh has keeps others' mail out of it.
 */
function filtersAt(context: Context, portNumber: number, operation: 'INSERT_BEFORE' | 'MERGE', value: object): Patch {
  const listener = { portNumber, filterChain: { filter: { name: TCP_PROXY } } };
  return { applyTo: 'NETWORK_FILTER', match: { context, listener }, patch: { operation, value } };
}

function discovered(name: string): object {
  return {
    name,
    config_discovery: {
      config_source: { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' },
      // RBAC is what istio-agent puts in the place of a filter that it could not get: nobody gets through then.
      type_urls: [`${EXTENSIONS}.wasm.v3.Wasm`, `${EXTENSIONS}.rbac.v3.RBAC`],
    },
  };
}

function envoyFilter({ namespace, labels }: Workload, name: string, configPatches: Patch[]): Manifest {
  return {
    apiVersion: 'networking.istio.io/v1alpha3',
    kind: 'EnvoyFilter',
    metadata: { name, namespace },
    spec: { workloadSelector: { labels }, priority: PRIORITY, configPatches },
  };
}
