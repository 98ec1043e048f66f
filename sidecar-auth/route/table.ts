import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Connectivity } from '../config/connectivity.ts';
import type { Listener } from '../config/listener.ts';
import type { Destination } from '../destination/destination.ts';
import type { Protocol } from '../failure.ts';

/** Everything that a listener's route and login are made of; two that are equal are one revision. */
export interface Entry {
  listenerId: string;
  listener: Omit<Listener, 'key'>;
  protocol: Protocol;
  /** Absent when the destination is gone. */
  destination?: Destination;
  connectivity?: Connectivity;
  /** Seconds. */
  loginTimeout: number;
}

export interface Route extends Entry {
  /** Route id: random behind its protocol's name, which tells the relay how to refuse it later; never given to another revision. */
  id: string;
}

/** The current route of each listener. What was superseded is not kept, so an old route id is simply unknown. */
export class RouteTable {
  #ofListener = new Map<string, Route>();
  #ofId = new Map<string, Route>();

  /** Takes over the current entries. Returns the ids of the listeners whose answer changed or is gone. */
  update(entries: Entry[]): string[] {
    const before = this.#ofListener;
    const routes = entries.map((entry) => this.#kept(entry) ?? { ...entry, id: newId(entry.protocol) });
    this.#ofListener = new Map(routes.map((route) => [route.listenerId, route]));
    this.#ofId = new Map(routes.map((route) => [route.id, route]));
    return [...before.values()].filter((old) => !this.#ofId.has(old.id)).map((old) => old.listenerId);
  }

  ofListener(listenerId: string): Route | undefined {
    return this.#ofListener.get(listenerId);
  }

  /** The route, if `id` is still the current one of its listener. */
  ofId(id: string): Route | undefined {
    return this.#ofId.get(id);
  }

  get routes(): Route[] {
    return [...this.#ofId.values()];
  }

  #kept(entry: Entry): Route | undefined {
    const route = this.#ofListener.get(entry.listenerId);
    if (!route) return undefined;
    const { id, ...old } = route;
    return isDeepStrictEqual(old, entry) ? route : undefined;
  }
}

function newId(protocol: Protocol): string {
  return `${protocol}-${randomBytes(16).toString('hex')}`;
}
