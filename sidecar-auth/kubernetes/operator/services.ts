import type { Protocol } from '../../failure.ts';
import { type Destination, type DestinationPort, gatewayServiceName, TENANT_ANNOTATION } from '../resource.ts';
import type { KubeObject } from './objects.ts';
import { ownedMetadata, ownerOf } from './owned.ts';
import { laneOwner } from './ports.ts';
import type { Settings } from './settings.ts';

/** What apps connect to: the protocol that they speak, and the Services' port. */
export interface Front {
  protocol: Protocol;
  port: number;
}

/** Both Services of a lane: the one in the resource's namespace is another name of the one that selects the gateway's pods. */
export function laneServices(
  resource: Destination,
  lane: DestinationPort,
  front: Front,
  settings: Settings,
): KubeObject[] {
  const { name, namespace } = resource.metadata;
  const behind = { name: gatewayServiceName(namespace, name, lane.tenant), namespace: settings.gatewayNamespace };
  const metadata = ownedMetadata(resource, behind, settings);
  if (lane.tenant !== undefined) metadata.annotations = { ...metadata.annotations, [TENANT_ANNOTATION]: lane.tenant };
  return [
    service(metadata, {
      type: 'ClusterIP',
      ipFamilyPolicy: 'PreferDualStack',
      selector: settings.gatewaySelector,
      ports: [{ ...portOf(front), targetPort: lane.port }],
    }),
    service(ownedMetadata(resource, { name: lane.service, namespace }, settings), {
      type: 'ExternalName',
      externalName: `${behind.name}.${behind.namespace}.svc.${settings.clusterDomain}`,
      ports: [portOf(front)],
    }),
  ];
}

/** The name begins with `tcp-`: for `smtp` or none a mesh looks for HTTP first, and the server's greeting never comes. */
function portOf({ protocol, port }: Front): object {
  return { name: `tcp-${protocol}`, protocol: 'TCP', appProtocol: 'tcp', port };
}

function service(metadata: KubeObject['metadata'], spec: object): KubeObject {
  return { apiVersion: 'v1', kind: 'Service', metadata, spec };
}

/** Whose lane a Service of the gateway's namespace is, and its port; undefined for other objects. */
export function laneOf(object: KubeObject): { owner: string; port: number } | undefined {
  const key = ownerOf(object);
  const { ports, type } = (object.spec ?? {}) as { type?: string; ports?: { targetPort?: unknown }[] };
  const port = ports?.[0]?.targetPort;
  if (key === undefined || type !== 'ClusterIP' || typeof port !== 'number') return undefined;
  return { owner: laneOwner(key, object.metadata.annotations?.[TENANT_ANNOTATION]), port };
}
