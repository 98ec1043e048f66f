import type { Destination } from '../resource.ts';
import { GROUP, PLURAL, VERSION } from '../resource.ts';
import type { Api } from './api.ts';
import { Follow, type FollowOptions, type Named } from './follow.ts';

export interface ManagedOptions {
  api: Api;
  /** Only these; then `selector` says nothing. */
  namespaces: string[];
  /** Of namespaces; undefined: all. */
  selector: string | undefined;
  onChange: () => void;
  log: FollowOptions<Named>['log'];
}

/** The Destinations of the managed namespaces. */
export class Managed {
  readonly #resources: Follow<Destination>[];
  readonly #namespaces: Follow<Named> | undefined;

  constructor({ api, namespaces, selector, onChange, log }: ManagedOptions) {
    const group = `/apis/${GROUP}/${VERSION}`;
    const paths = namespaces.map((namespace) => `${group}/namespaces/${encodeURIComponent(namespace)}/${PLURAL}`);
    const all = paths.length > 0 ? paths : [`${group}/${PLURAL}`];
    this.#resources = all.map((path) => new Follow<Destination>({ api, path, onChange, log }));
    if (namespaces.length > 0 || selector === undefined) return;
    this.#namespaces = new Follow({ api, path: '/api/v1/namespaces', labelSelector: selector, onChange, log });
  }

  get synced(): Promise<unknown> {
    return Promise.all([...this.#resources, ...(this.#namespaces ? [this.#namespaces] : [])].map((one) => one.synced));
  }

  get destinations(): Destination[] {
    const all = this.#resources.flatMap(({ items }) => [...items.values()]);
    const namespaces =
      this.#namespaces && new Set([...this.#namespaces.items.values()].map((one) => one.metadata.name));
    return namespaces ? all.filter(({ metadata }) => namespaces.has(metadata.namespace)) : all;
  }

  stop(): void {
    for (const one of this.#resources) one.stop();
    this.#namespaces?.stop();
  }
}
