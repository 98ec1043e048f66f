import type { Scope } from '../resource.ts';
import type { Range } from './ports.ts';

/** What holds for all resources of one installation. */
export interface Settings {
  /** Where the gateway's pods are; the operator's Lease and ConfigMap, too. It names the installation. */
  gatewayNamespace: string;
  /** Labels of the gateway's pods. */
  gatewaySelector: Record<string, string>;
  /** `cluster.local`: the end of the names of Services. */
  clusterDomain: string;
  /** For resources without accessControl.scope. */
  defaultScope: Scope;
  /** Of the gateway's pods. */
  ports: Range;
  /** Whether resources may have mode istio. */
  istio: boolean;
}

/** One per installation: two of them may share a cluster, each with namespaces of its own. */
export function finalizerOf({ gatewayNamespace }: Settings): string {
  return `connectivity.postern.dev/${gatewayNamespace}`;
}
