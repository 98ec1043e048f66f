import type { Protocol } from '../../failure.ts';
import type { Manifest } from './manifest.ts';

export interface MeshPort {
  protocol: Protocol;
  port: number;
}

/**
 * What applications connect to. It has no pods behind it: istiod makes a listener of each port, and the filter there chooses the server. Names that
 * begin with `tcp-` matter: of `smtp`, `imap` or no name istiod makes a listener that waits for the client's first byte, and mail servers speak first.
 */
export function meshService(name: string, namespace: string, ports: MeshPort[]): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: {
      ipFamilyPolicy: 'PreferDualStack',
      ports: ports.map(({ protocol, port }) => ({ name: portName(protocol, port), port, protocol: 'TCP' })),
    },
  };
}

export function portName(protocol: Protocol, port: number): string {
  return `tcp-${protocol}-${port}`;
}
