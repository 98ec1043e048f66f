import { PLURAL } from '../resource.ts';

/** Any object of the API server. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  spec?: object;
  [other: string]: unknown;
}

export interface Metadata {
  name: string;
  namespace: string;
  uid?: string;
  resourceVersion?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[];
}

/** The kinds that the operator handles. */
const PLURALS: Record<string, string> = {
  ConfigMap: 'configmaps',
  Destination: PLURAL,
  EnvoyFilter: 'envoyfilters',
  Event: 'events',
  Lease: 'leases',
  NetworkPolicy: 'networkpolicies',
  Service: 'services',
};

/** The path of one object; without `name` that of its collection. */
export function pathOf(kind: Pick<KubeObject, 'apiVersion' | 'kind'>, namespace: string, name?: string): string {
  const plural = PLURALS[kind.kind];
  if (plural === undefined) throw new Error(`no path is known for the kind ${kind.kind}`);
  const group = kind.apiVersion.includes('/') ? `/apis/${kind.apiVersion}` : `/api/${kind.apiVersion}`;
  const collection = `${group}/namespaces/${namespace}/${plural}`;
  return name === undefined ? collection : `${collection}/${name}`;
}

/** Equal for the same object in two versions. */
export function identity({ kind, metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace}/${metadata.name}`;
}

/**
 * Whether all that `wanted` says is so in `actual`. The API server adds defaults to objects, never elements to lists: a list of another length was changed
 * by someone.
 */
export function covers(actual: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(actual) &&
      actual.length === wanted.length &&
      wanted.every((element, index) => covers(actual[index], element))
    );
  }
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted;
  if (typeof actual !== 'object' || actual === null) return false;
  const entries = Object.entries(wanted);
  // An empty selector means everything: one with something in it is another.
  if (entries.length === 0) return Object.keys(actual).length === 0;
  return entries.every(
    ([key, value]) => value === undefined || covers((actual as Record<string, unknown>)[key], value),
  );
}
