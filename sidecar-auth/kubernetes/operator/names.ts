import { type Destination, keyOf, modeOf, ResourceMistake, serviceName, tenantsOf } from '../resource.ts';
import { laneOwner, type Ports } from './ports.ts';
import { availableOf } from './status.ts';

/** The Services that a resource makes in its namespace; none where its annotation is wrong. */
export function servicesOf(resource: Destination): { service: string; tenant?: string }[] {
  const { name } = resource.metadata;
  if (modeOf(resource) === 'istio') return [{ service: name }];
  try {
    return tenantsOf(resource).map((tenant) => ({
      service: serviceName(name, tenant),
      ...(tenant !== undefined && { tenant }),
    }));
  } catch {
    return [];
  }
}

/**
 * `a` with the subscriber `b` and a resource `a-b` want the same Service. It belongs to the one that has it already; of new ones to the older.
 * @throws ResourceMistake where another resource of the namespace has one of this resource's names
 */
export function demandNames(resource: Destination, siblings: Destination[], ports: Ports): void {
  for (const { service, tenant } of servicesOf(resource)) {
    for (const other of siblings) {
      const theirs = servicesOf(other).find((candidate) => candidate.service === service);
      if (!theirs || isFirst(claim(resource, tenant, ports), claim(other, theirs.tenant, ports))) continue;
      throw new ResourceMistake(
        'ConfigurationError-DuplicateDestinationCustomResource',
        `the Service ${service} belongs to ${keyOf(other)}: choose another name or another subscriber`,
      );
    }
  }
}

/**
 * In a mesh the filter stands on a port number, so that two resources with the same one in the same namespace would both log in.
 * @throws ResourceMistake where another resource has it
 */
export function demandMeshPort(resource: Destination, siblings: Destination[]): void {
  const { port } = resource.spec.service ?? {};
  const other = siblings.find(
    (sibling) =>
      modeOf(sibling) === 'istio' &&
      sibling.spec.service?.port === port &&
      !isFirst(meshClaim(resource), meshClaim(sibling)),
  );
  if (!other) return;
  throw new ResourceMistake(
    'ConfigurationError-DuplicateDestinationCustomResource',
    `service.port ${port} belongs to ${keyOf(other)}: in mode istio each resource needs a number of its own`,
  );
}

function meshClaim(resource: Destination): string[] {
  const { status, spec } = resource;
  const hasIt = availableOf(status)?.status === 'True' && status?.servicePort === spec.service?.port;
  return [hasIt ? '0' : '1', ...created(resource)];
}

function claim(resource: Destination, tenant: string | undefined, ports: Ports): string[] {
  const hasIt = ports.of(laneOwner(keyOf(resource), tenant)) !== undefined;
  return [hasIt ? '0' : '1', ...created(resource)];
}

/** Names decide between resources of the same second. */
function created({ metadata }: Destination): string[] {
  const { creationTimestamp = '', name } = metadata;
  return [creationTimestamp instanceof Date ? creationTimestamp.toISOString() : creationTimestamp, name];
}

function isFirst(one: string[], other: string[]): boolean {
  const at = one.findIndex((part, index) => part !== other[index]);
  return at >= 0 && String(one[at]) < String(other[at]);
}
