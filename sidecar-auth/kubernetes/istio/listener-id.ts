import type { Protocol } from '../../failure.ts';
import { addressHash } from '../../listeners/id.ts';
import type { Workload } from './envoy-filter.ts';

/**
 * The listener's id (docs/contract.md) where nobody has FILE at hand, such as the operator: that of sidecar-auth's FILE with the address
 * 127.0.0.1:PORT for sidecars, for only the pod's own applications reach them, and 0.0.0.0:PORT for egress gateways.
 */
export function listenerId(kind: Workload['kind'], protocol: Protocol, port: number): string {
  return `${protocol}:${addressHash({ host: kind === 'sidecar' ? '127.0.0.1' : '0.0.0.0', port })}`;
}
