import { carryOutPorts } from '../../../sidecar-auth/kubernetes/operator/carry-out.ts';
import type { KubeObject } from '../../../sidecar-auth/kubernetes/operator/objects.ts';
import { identity } from '../../../sidecar-auth/kubernetes/operator/objects.ts';
import { Ports } from '../../../sidecar-auth/kubernetes/operator/ports.ts';
import { type Plan, reconcile, type World } from '../../../sidecar-auth/kubernetes/operator/reconcile.ts';
import { finalizerOf, type Settings } from '../../../sidecar-auth/kubernetes/operator/settings.ts';
import { type Destination, keyOf } from '../../../sidecar-auth/kubernetes/resource.ts';

export const SETTINGS: Settings = {
  gatewayNamespace: 'postern',
  gatewaySelector: { app: 'postern' },
  clusterDomain: 'cluster.local',
  defaultScope: 'namespaced',
  ports: { first: 20000, last: 20004 },
  istio: true,
};

let count = 0;

export function destination(
  name: string,
  more: { namespace?: string; annotations?: Record<string, string>; age?: number; spec?: object } = {},
): Destination {
  count++;
  return {
    metadata: {
      name,
      namespace: more.namespace ?? 'shop',
      uid: `uid-${count}`,
      generation: 1,
      creationTimestamp: new Date(1_000_000 - (more.age ?? 0) * 1000).toISOString(),
      ...(more.annotations && { annotations: more.annotations }),
    },
    spec: { secretRef: { name: 'mail' }, protocol: 'smtp', ...more.spec } as Destination['spec'],
  };
}

/** A cluster in miniature: what is planned is so at once. */
export class MiniCluster {
  now = Date.parse('2026-01-01T00:00:00Z');
  ports = new Ports(SETTINGS.ports);
  readonly resources = new Map<string, Destination>();
  readonly objects = new Map<string, KubeObject>();
  readonly unmanaged = new Set<string>();
  /** `namespace/name` of Services that others made. */
  readonly foreign = new Set<string>();
  looked: World['looked'];

  put(resource: Destination): string {
    this.resources.set(keyOf(resource), resource);
    return keyOf(resource);
  }

  get(key: string): Destination {
    const found = this.resources.get(key);
    if (!found) throw new Error(`no ${key}`);
    return found;
  }

  plan(key: string): Plan {
    return reconcile(key, this.resources.get(key), this.world(key));
  }

  /** Does it until nothing is left to do. */
  settle(key: string): Plan {
    const plan = this.plan(key);
    this.#do(key, plan);
    return plan;
  }

  world(key: string): World {
    const [namespace = ''] = key.split('/');
    const siblings = [...this.resources.values()].filter(
      (other) => other.metadata.namespace === namespace && keyOf(other) !== key && !other.metadata.deletionTimestamp,
    );
    const uid = this.resources.get(key)?.metadata.uid;
    return {
      settings: SETTINGS,
      now: this.now,
      isManaged: !this.unmanaged.has(namespace),
      siblings,
      ports: this.ports,
      made: [...this.objects.values()].filter(
        ({ metadata }) =>
          metadata.annotations?.['connectivity.postern.dev/destination'] === key ||
          (!metadata.annotations && metadata.ownerReferences?.some((owner) => owner.uid === uid)),
      ),
      foreign: new Set(
        [...this.foreign].filter((one) => one.startsWith(`${namespace}/`)).map((one) => one.split('/')[1] ?? ''),
      ),
      ...(this.looked !== undefined && { looked: this.looked }),
    };
  }

  /** `kubectl delete`. */
  remove(key: string): void {
    this.get(key).metadata.deletionTimestamp = new Date(this.now).toISOString();
  }

  #do(key: string, plan: Plan): void {
    carryOutPorts(plan, this.ports, this.now);
    const resource = this.resources.get(key);
    const finalizer = finalizerOf(SETTINGS);
    if (resource && plan.addFinalizer) resource.metadata.finalizers = [finalizer];
    if (resource && plan.status) resource.status = plan.status;
    for (const object of [...plan.create, ...plan.change]) this.objects.set(identity(object), object);
    for (const object of plan.remove) this.objects.delete(identity(object));
    if (!resource || !plan.removeFinalizer) return;
    resource.metadata.finalizers = [];
    if (resource.metadata.deletionTimestamp) this.resources.delete(key);
  }
}
