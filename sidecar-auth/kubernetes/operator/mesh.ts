import { createHash } from 'node:crypto';
import { destinationFilter, type Workload, workloadFilter } from '../istio/envoy-filter.ts';
import { listenerId } from '../istio/listener-id.ts';
import type { Manifest } from '../istio/manifest.ts';
import { meshService } from '../istio/service.ts';
import { type Destination, modeOf } from '../resource.ts';
import type { KubeObject } from './objects.ts';
import { ownedMetadata, ownerReference } from './owned.ts';
import type { Front } from './services.ts';
import type { Settings } from './settings.ts';

/** Mode istio: the Service, the filter of this destination, and what all destinations of the same pods share. */
export function meshObjects(
  resource: Destination,
  siblings: Destination[],
  front: Front,
  settings: Settings,
): KubeObject[] {
  const workload = workloadOf(resource);
  const id = listenerId(workload.kind, front.protocol, front.port);
  const shared = owned(resource, workloadFilter(workload), settings);
  // It goes when the last of them goes.
  shared.metadata.ownerReferences = [resource, ...siblings.filter((other) => sharesWorkload(resource, other))]
    .map(ownerReference)
    .sort((a, b) => (a.uid < b.uid ? -1 : 1));
  // Not one resource's: none may take it away from the others.
  delete shared.metadata.annotations;
  return [
    owned(resource, meshService(resource.metadata.name, resource.metadata.namespace, [front]), settings),
    owned(resource, destinationFilter(workload, { id, port: front.port }), settings),
    shared,
  ];
}

/** Whether both put filters into the same pods, as far as it can be told without looking at pods. */
export function sharesWorkload(resource: Destination, other: Destination): boolean {
  return (
    modeOf(other) === 'istio' &&
    other.metadata.deletionTimestamp === undefined &&
    workloadOf(other).name === workloadOf(resource).name
  );
}

function workloadOf({ metadata, spec }: Destination): Workload {
  const { matchLabels: labels = {}, kind = 'sidecar' } = spec.workloadSelector ?? {};
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256')
    .update(JSON.stringify([kind, sorted]))
    .digest('hex');
  return { name: `postern-${hash.slice(0, 10)}`, namespace: metadata.namespace, labels, kind };
}

function owned(resource: Destination, manifest: Manifest, settings: Settings): KubeObject {
  return { ...manifest, metadata: ownedMetadata(resource, manifest.metadata, settings) };
}
