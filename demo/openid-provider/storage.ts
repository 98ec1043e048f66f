import type { Adapter, AdapterPayload } from 'oidc-provider';

/** What the provider keeps of one kind (`AccessToken`, `Session`, ...), in memory. It checks expiry itself. */
export class Storage implements Adapter {
  readonly #entries = new Map<string, AdapterPayload>();

  async upsert(id: string, payload: AdapterPayload): Promise<void> {
    this.#entries.set(id, payload);
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    return this.#entries.get(id);
  }

  async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return this.#first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode: string): Promise<AdapterPayload | undefined> {
    return this.#first((payload) => payload.userCode === userCode);
  }

  /** A code or refresh token that was used: kept, so that its second use is noticed. */
  async consume(id: string): Promise<void> {
    const payload = this.#entries.get(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id: string): Promise<void> {
    this.#entries.delete(id);
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    this.drop((payload) => payload.grantId === grantId);
  }

  /** Forgets what `matches`; returns how many that were. */
  drop(matches: (payload: AdapterPayload) => boolean): number {
    const found = [...this.#entries].filter(([, payload]) => matches(payload));
    for (const [id] of found) this.#entries.delete(id);
    return found.length;
  }

  #first(matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    return [...this.#entries.values()].find(matches);
  }
}

/** One storage per kind, made when it is asked for. */
export class Storages {
  readonly #byKind = new Map<string, Storage>();

  of(kind: string): Storage {
    const storage = this.#byKind.get(kind) ?? new Storage();
    this.#byKind.set(kind, storage);
    return storage;
  }
}
