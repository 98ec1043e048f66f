/** What was asked since the start, for GET /v1/status. */
export class Counters {
  /** POST /v1/sessions by listener id. */
  readonly #sessions = new Map<string, number>();
  #unknown = 0;
  #rejections = 0;
  #superseded = 0;

  /** `undefined`: of a listener that is not known, whose id is not kept. */
  session(listenerId: string | undefined): void {
    if (listenerId === undefined) this.#unknown++;
    else this.#sessions.set(listenerId, (this.#sessions.get(listenerId) ?? 0) + 1);
  }

  rejection(current: boolean): void {
    if (current) this.#rejections++;
    else this.#superseded++;
  }

  /** Forgets the listeners that are not among these. */
  keep(listenerIds: string[]): void {
    const known = new Set(listenerIds);
    for (const id of this.#sessions.keys()) if (!known.has(id)) this.#sessions.delete(id);
  }

  all(): object {
    return {
      sessions: Object.fromEntries(this.#sessions),
      unknownListeners: this.#unknown,
      rejections: this.#rejections,
      supersededRejections: this.#superseded,
    };
  }
}
