import { stringify } from 'yaml';
import { isLoopback } from '../../config/address.ts';
import type { Config } from '../../config/config.ts';
import { ConfigMistakes, type Mistake } from '../../config/mistakes.ts';
import { entries, protocols } from '../../listeners/id.ts';
import type { Entry } from '../../route/table.ts';
import { egressManifests, egressWorkload } from './egress.ts';
import { destinationFilter, type MeshListener, type Workload, workloadFilter } from './envoy-filter.ts';
import type { Manifest } from './manifest.ts';
import { type MeshPort, meshService } from './service.ts';

export interface MeshOptions {
  config: Config;
  /** Of the Service that applications use; what else is made is named after it. */
  name: string;
  namespace: string;
  /** The applications' pods, or an egress gateway of its own and who may use it. */
  to: { labels: Record<string, string> } | { egress: { allowedNamespaces: string[]; clusterDomain?: string } };
  /** By default the one of the injection template. */
  runDir?: string;
}

type Listener = MeshListener & MeshPort;

/**
 * All that a mesh needs for the listeners of FILE, which sidecar-auth beside the proxy has as well.
 * @throws ConfigMistakes where a listener's address is not one that a mesh can have
 */
export function meshManifests({ config, name, namespace, to, runDir }: MeshOptions): Manifest[] {
  const workload: Workload =
    'labels' in to ? { name, namespace, labels: to.labels, kind: 'sidecar' } : egressWorkload({ name, namespace });
  const ports = listeners(config, workload.kind);
  const options = { loginTimeout: config.loginTimeout, ...(runDir !== undefined && { runDir }) };
  return [
    meshService(name, namespace, ports),
    ...('egress' in to ? egressManifests({ name, namespace, ports, ...to.egress }) : []),
    workloadFilter(workload, options),
    ...ports.map((port) => destinationFilter(workload, port, options)),
  ];
}

/** As a file for kubectl. */
export function yamlOf(manifests: Manifest[]): string {
  // No anchors: people read this, and some tools can't.
  return manifests.map((manifest) => stringify(manifest, { aliasDuplicateObjects: false, lineWidth: 0 })).join('---\n');
}

const ADDRESSES: Record<Workload['kind'], string> = {
  sidecar: "a loopback address and a port (127.0.0.1:2587), for it stands in the pod; the port is the Service's",
  egress: "a wildcard address and a port (0.0.0.0:2587, with open: true or app); the port is the Service's",
};

function listeners(config: Config, kind: Workload['kind']): Listener[] {
  const seen = new Map<number, string>();
  const mistakes: Mistake[] = [];
  const found = entries(config, protocols(config, new Map())).map((entry): Listener => {
    const { key } = config.listeners.find(({ address }) => address === entry.listener.address) ?? { key: 'listeners' };
    const port = portOf(entry, kind);
    const other = seen.get(port);
    const mistake = (text: string) => mistakes.push({ file: config.file, key: `${key}.address`, text });
    if (port === 0) mistake(`must be ${ADDRESSES[kind]}`);
    else if (other) mistake(`port ${port} is taken by ${other}: each destination needs a port of its own`);
    else seen.set(port, key);
    return { id: entry.listenerId, protocol: entry.protocol, port };
  });
  if (mistakes.length > 0) throw new ConfigMistakes(mistakes);
  return found;
}

/** 0 where the address can't be one of a mesh. */
function portOf({ listener: { address } }: Entry, kind: Workload['kind']): number {
  if ('path' in address || isLoopback(address.host) !== (kind === 'sidecar')) return 0;
  return address.port;
}
