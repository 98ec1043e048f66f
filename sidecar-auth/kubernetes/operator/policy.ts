import { type Destination, type DestinationPort, gatewayServiceName } from '../resource.ts';
import type { KubeObject } from './objects.ts';
import { ownedMetadata } from './owned.ts';
import type { Settings } from './settings.ts';

/** On every namespace since Kubernetes 1.22; its users can't change it. */
const NAMESPACE_LABEL = 'kubernetes.io/metadata.name';

/** Who may connect to the resource's ports of the gateway. The chart's own policy closes all others. */
export function networkPolicy(resource: Destination, lanes: DestinationPort[], settings: Settings): KubeObject {
  const { name, namespace } = resource.metadata;
  const place = { name: gatewayServiceName(namespace, name, undefined), namespace: settings.gatewayNamespace };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: ownedMetadata(resource, place, settings),
    spec: {
      podSelector: { matchLabels: settings.gatewaySelector },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [{ namespaceSelector: namespaces(resource, settings) }],
          ports: lanes.map(({ port }) => ({ protocol: 'TCP', port })),
        },
      ],
    },
  };
}

function namespaces({ metadata, spec }: Destination, { defaultScope }: Settings): object {
  // Who names namespaces means these, also where the chart's default is wider.
  const scope = spec.accessControl?.scope ?? (spec.allowedNamespaces ? 'namespaced' : defaultScope);
  if (scope === 'clusterWide') return {};
  const values = [...new Set([metadata.namespace, ...(spec.allowedNamespaces ?? [])])].sort();
  return { matchExpressions: [{ key: NAMESPACE_LABEL, operator: 'In', values }] };
}
