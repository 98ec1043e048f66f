import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Connectivity } from '../config/connectivity.ts';
import type { Listener } from '../config/listener.ts';
import type { Destination } from '../destination/destination.ts';
import type { Protocol } from '../failure.ts';

/** Everything that the configuration says of a listener; two that are equal are one revision. */
export interface Entry {
  listenerId: string;
  listener: Omit<Listener, 'key'>;
  protocol: Protocol;
  /** From a file; absent when there is none, or none any more. */
  destination?: Destination;
  connectivity?: Connectivity;
  /** Seconds. */
  loginTimeout: number;
}

export interface Route extends Entry {
  /** Route id: random behind its protocol's name, which tells the relay how to refuse it later; never given to another revision. */
  id: string;
  /** Of the entry: what the Destination service says later belongs to the entry that it was asked for. */
  revision: number;
  /** From the Destination service, as it was when it was last asked; it wins over the file's. */
  served?: Destination;
}

export function destinationOf(route: Route | undefined): Destination | undefined {
  return route?.served ?? route?.destination;
}

/** The current route of each listener. What was superseded is not kept, so an old route id is simply unknown. */
export class RouteTable {
  #ofListener = new Map<string, Route>();
  #ofId = new Map<string, Route>();
  #revision = 0;

  /** Takes over the current entries. Returns the ids of the listeners whose answer changed or is gone. */
  update(entries: Entry[]): string[] {
    const before = this.#ofListener;
    const routes = entries.map((entry) => this.#kept(entry) ?? this.#new(entry));
    this.#ofListener = new Map(routes.map((route) => [route.listenerId, route]));
    this.#ofId = new Map(routes.map((route) => [route.id, route]));
    return [...before.values()].filter((old) => !this.#ofId.has(old.id)).map((old) => old.listenerId);
  }

  /**
   * The Destination service says that this is the route's destination now (`undefined`: it has none). The route in force: as it was where
   * nothing changed, else with a new id. Undefined where the configuration has changed since it was asked.
   */
  serve({ listenerId, revision }: Route, served: Destination | undefined): Route | undefined {
    const current = this.#ofListener.get(listenerId);
    if (current?.revision !== revision) return undefined;
    if (isDeepStrictEqual(current.served, served)) return current;
    const { served: _, ...entry } = current;
    // The first answer completes a route that nobody can hold yet.
    const id = current.served || current.destination ? newId(current.protocol) : current.id;
    const next = { ...entry, id, ...(served && { served }) };
    this.#ofId.delete(current.id);
    this.#ofId.set(id, next);
    this.#ofListener.set(listenerId, next);
    return next;
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
    const { id, served, revision, ...old } = route;
    return isDeepStrictEqual(old, entry) ? route : undefined;
  }

  #new(entry: Entry): Route {
    this.#revision += 1;
    return { ...entry, id: newId(entry.protocol), revision: this.#revision };
  }
}

function newId(protocol: Protocol): string {
  return `${protocol}-${randomBytes(16).toString('hex')}`;
}
