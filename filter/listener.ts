import { Connection } from './connection';
import { Route } from './contract';
import { fallbackOf } from './filter-state';
import { now } from './host/host';
import { Counters } from './metrics';
import { Bytes } from './protocol/bytes';
import { isProtocol } from './protocol/protocols';

const SECOND: u64 = 1000000000;

/** One listener of Envoy, a root context: the route that is kept for it, and who waits for one. */
export class Listener {
  /** `<protocol>:<opaque>` (docs/contract.md); empty until configured. */
  id: Bytes = new Bytes();
  protocol: Bytes = new Bytes();
  /** The filter state that leads a connection to the fallback. */
  fallback: Bytes = new Bytes();
  /** Null until something was counted. */
  counters: Counters | null = null;
  /** Connections of this worker that are open. */
  open: i32 = 0;
  /** Connections that wait for the answer that is under way. */
  waiting: Connection[] = [];
  asking: bool = false;
  private kept: Route | null = null;
  private keptUntil: u64 = 0;
  /** Counts the changes that were told; an answer asked for before one is not kept. */
  private revision: u32 = 0;
  private askedAt: u32 = 0;

  constructor(readonly context: u32) {}

  configure(id: Bytes): bool {
    const colon = id.indexOf(0x3a);
    this.protocol = id.slice(0, colon);
    this.fallback = fallbackOf(this.protocol);
    this.id = id;
    return colon > 0 && colon + 1 < id.length && isProtocol(this.protocol);
  }

  /** The route that is kept at this time (nanoseconds since 1970). */
  keptRoute(time: u64): Route | null {
    const kept = this.kept;
    if (kept == null || time < this.keptUntil) return kept;
    this.kept = null;
    return null;
  }

  ask(): void {
    this.asking = true;
    this.askedAt = this.revision;
  }

  /** The answer is here; who waited for it. `since`: the state that the last poll told. */
  answered(route: Route, since: Bytes): Connection[] {
    const waiting = this.waiting;
    this.waiting = [];
    this.asking = false;
    // Both answers travel on connections of their own: one of the state that the poll told knows of the change.
    if (this.askedAt == this.revision || route.since.same(since)) this.keep(route);
    return waiting;
  }

  private keep(route: Route): void {
    if (route.keepSeconds <= 0) return;
    this.kept = route;
    this.keptUntil = now() + <u64>route.keepSeconds * SECOND;
  }

  /** Something changed that this listener may be about; a route of the state that was told stays. */
  changed(since: Bytes): void {
    const kept = this.kept;
    if (kept == null || !kept.since.same(since)) this.drop();
  }

  /** Drops this very route; a newer one stays. */
  dropRoute(route: Route): void {
    if (this.kept == route) this.drop();
  }

  private drop(): void {
    this.kept = null;
    this.revision += 1;
  }
}
