import {
  API_VERSION,
  type Destination,
  INSTALLATION_LABEL,
  KIND,
  keyOf,
  MANAGED_BY,
  OWNER_ANNOTATION,
} from '../resource.ts';
import type { KubeObject, Metadata } from './objects.ts';
import type { Settings } from './settings.ts';

/**
 * The metadata of an object that is made for a resource. In the resource's namespace an owner reference lets the garbage collector delete it; in the gateway's the
 * operator does, before it takes its finalizer away.
 */
export function ownedMetadata(
  resource: Destination,
  place: { name: string; namespace: string },
  { gatewayNamespace }: Settings,
): Metadata {
  return {
    ...place,
    labels: { ...MANAGED_BY, [INSTALLATION_LABEL]: gatewayNamespace },
    annotations: { [OWNER_ANNOTATION]: keyOf(resource) },
    ...(place.namespace === resource.metadata.namespace && { ownerReferences: [ownerReference(resource)] }),
  };
}

export function ownerReference({ metadata }: Destination): NonNullable<Metadata['ownerReferences']>[number] {
  return { apiVersion: API_VERSION, kind: KIND, name: metadata.name, uid: metadata.uid ?? '' };
}

/** The key of the resource that an object was made for. */
export function ownerOf({ metadata }: KubeObject): string | undefined {
  return metadata.annotations?.[OWNER_ANNOTATION];
}
