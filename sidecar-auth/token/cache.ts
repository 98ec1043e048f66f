import { Failure } from '../failure.ts';
import type { AccessToken } from './issuer.ts';
import { CACHE_ENTRIES, FAULT_MS, LAST_SECONDS, REFUSAL_MS, REPLACED_MS, REPLACEMENTS, renewAt } from './limits.ts';

interface Entry {
  token?: AccessToken;
  /** Date.now() from which on a token is renewed. */
  renewAt: number;
  /** The last failure, and until when it stands. */
  failure?: { error: unknown; until: number };
  running?: Promise<AccessToken>;
  /** When refused tokens were dropped, of late. */
  refusedAt: number[];
}

/** Access tokens and failures by key: one request in flight for each, renewal before the end, and a limit on how many are kept. */
export class TokenCache {
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  readonly #now: () => number;

  constructor(options: { limit?: number; now?: () => number } = {}) {
    this.#limit = options.limit ?? CACHE_ENTRIES;
    this.#now = options.now ?? Date.now;
  }

  /** The kept token, or what `issue` gives: its failures are kept, too. In a token's last part it is renewed while it is still handed out. */
  async get(key: string, issue: () => Promise<AccessToken>): Promise<AccessToken> {
    const entry = this.#used(key);
    const { token } = entry;
    if (token && this.#now() < token.expiresAt - LAST_SECONDS * 1000) {
      if (this.#now() >= entry.renewAt && !this.#failed(entry)) this.#run(entry, issue).catch(() => {});
      return token;
    }
    const failure = this.#failed(entry);
    if (failure) throw failure.error;
    return this.#run(entry, issue);
  }

  /** Drops the token with this value, wherever it is kept. */
  refused(value: string): void {
    for (const entry of this.#entries.values()) if (entry.token?.value === value) this.#drop(entry);
  }

  /** Forgets a key. */
  delete(key: string): void {
    this.#entries.delete(key);
  }

  get size(): number {
    return this.#entries.size;
  }

  #used(key: string): Entry {
    const entry = this.#entries.get(key) ?? { renewAt: 0, refusedAt: [] };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size <= this.#limit) break;
      this.#entries.delete(oldest);
    }
    return entry;
  }

  #failed({ failure }: Entry): Entry['failure'] {
    return failure && this.#now() < failure.until ? failure : undefined;
  }

  #run(entry: Entry, issue: () => Promise<AccessToken>): Promise<AccessToken> {
    entry.running ??= issue()
      .then((token) => this.#keep(entry, token))
      .catch((error) => this.#keepFailure(entry, error))
      .finally(() => delete entry.running);
    return entry.running;
  }

  #keep(entry: Entry, token: AccessToken): AccessToken {
    entry.token = token;
    entry.renewAt = renewAt(this.#now(), token.expiresAt);
    delete entry.failure;
    return token;
  }

  #keepFailure(entry: Entry, error: unknown): never {
    const lasting = error instanceof Failure && !error.retry;
    entry.failure = { error, until: this.#now() + (lasting ? REFUSAL_MS : FAULT_MS) };
    throw error;
  }

  /** A server (or another service) that refuses every token must not make one token request of each connection. */
  #drop(entry: Entry): void {
    const now = this.#now();
    delete entry.token;
    entry.refusedAt = [...entry.refusedAt.filter((at) => now - at < REPLACED_MS), now];
    if (entry.refusedAt.length <= REPLACEMENTS) return;
    const error = new Failure('token', 'each new token was refused');
    entry.failure = { error, until: now + REFUSAL_MS };
  }
}
