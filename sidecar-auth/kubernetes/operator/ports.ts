export interface Range {
  first: number;
  last: number;
}

/** Sessions that began before a port was freed may still run for Envoy's drain time, which is one day. */
const REST_MS = 24 * 60 * 60 * 1000;

/** Whose port it is: a resource, and one of its subscribers. */
export function laneOwner(key: string, tenant: string | undefined): string {
  return tenant === undefined ? key : `${key} ${tenant}`;
}

/** A port that was freed. */
export interface Rest {
  /** Who had it; only they may have it again before its time. */
  owner: string;
  /** Date.now() at which it was freed. */
  since: number;
}

/** Who holds which port, and which rest. One port has one holder; what the resources' statuses say is loaded with `restore`. */
export class Ports {
  readonly #range: Range;
  readonly #holders = new Map<number, string>();
  readonly #ports = new Map<string, number>();
  readonly #resting: Map<number, Rest>;

  constructor(range: Range, resting: ReadonlyMap<number, Rest> = new Map()) {
    this.#range = range;
    this.#resting = new Map(resting);
  }

  of(owner: string): number | undefined {
    return this.#ports.get(owner);
  }

  holder(port: number): string | undefined {
    return this.#holders.get(port);
  }

  /** All lanes of a resource, as [owner, port]. */
  heldBy(key: string): [string, number][] {
    return [...this.#ports].filter(([holder]) => holder === key || holder.startsWith(`${key} `));
  }

  /** The port that this owner had not long ago: who is made again and again must not use up all ports. */
  rested(owner: string, now: number): number | undefined {
    for (const [port, rest] of this.#resting) {
      // Once its rest is over it is one of the free ones.
      if (rest.owner === owner && this.#isInRange(port) && this.#rests(port, now)) return port;
    }
    return undefined;
  }

  /** The lowest ports that can be given to anybody; fewer than `count` where there are no more. */
  free(count: number, now: number): number[] {
    const found: number[] = [];
    for (let port = this.#range.first; port <= this.#range.last && found.length < count; port++) {
      if (this.#canBeGiven(port, now)) found.push(port);
    }
    return found;
  }

  take(owner: string, port: number): void {
    this.#holders.set(port, owner);
    this.#ports.set(owner, port);
    this.#resting.delete(port);
  }

  /** As an earlier leader left it: the first who claims a port has it, and none who claims one of another that rests, or none of ours. */
  restore(owner: string, port: number, now: number): void {
    if (!this.#isInRange(port) || this.#holders.has(port) || this.of(owner) !== undefined) return;
    if (!this.#rests(port, now) || this.#resting.get(port)?.owner === owner) this.take(owner, port);
  }

  /** Frees a port. */
  retire(port: number, now: number): void {
    const owner = this.#holders.get(port);
    if (owner === undefined) return;
    this.#holders.delete(port);
    this.#ports.delete(owner);
    this.#resting.set(port, { owner, since: now });
  }

  /** What must outlive the operator, without those whose rest is over. */
  resting(now: number): Map<number, Rest> {
    for (const port of [...this.#resting.keys()]) if (!this.#rests(port, now)) this.#resting.delete(port);
    return new Map(this.#resting);
  }

  #canBeGiven(port: number, now: number): boolean {
    return !this.#holders.has(port) && !this.#rests(port, now);
  }

  #isInRange(port: number): boolean {
    return port >= this.#range.first && port <= this.#range.last;
  }

  #rests(port: number, now: number): boolean {
    const rest = this.#resting.get(port);
    return rest !== undefined && now - rest.since < REST_MS;
  }
}
