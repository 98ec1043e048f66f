/** After the first failure; it doubles with each further one. */
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 30_000;

export interface QueueOptions {
  /** Does what is due for a key. Where it throws it is called again, later and later. */
  work: (key: string) => Promise<void>;
  onError: (key: string, error: unknown, waitMs: number) => void;
  /** How many keys at once. */
  workers: number;
}

/**
 * Keys that something may be due for. It keeps no events: a key that is added often is worked on once, and again where it was added meanwhile; never twice at a
 * time.
 */
export class WorkQueue {
  readonly #options: QueueOptions;
  /** In the order of their coming. */
  readonly #due = new Set<string>();
  readonly #busy = new Set<string>();
  readonly #failures = new Map<string, number>();
  /** One for each key: the last that was asked for. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #isClosed = false;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  add(key: string): void {
    if (this.#isClosed) return;
    this.#due.add(key);
    // Later, so that all that come at once are there when the first is looked at.
    queueMicrotask(() => this.#next());
  }

  addAfter(key: string, ms: number): void {
    clearTimeout(this.#timers.get(key));
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, ms);
    this.#timers.set(key, timer.unref());
  }

  /** What is under way ends by itself; nothing new begins. */
  close(): void {
    this.#isClosed = true;
    this.#due.clear();
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  #next(): void {
    for (const key of this.#due) {
      if (this.#busy.size >= this.#options.workers) return;
      if (this.#busy.has(key)) continue;
      this.#due.delete(key);
      this.#busy.add(key);
      this.#work(key);
    }
  }

  /** Never rejects. */
  async #work(key: string): Promise<void> {
    try {
      await this.#options.work(key);
      this.#failures.delete(key);
    } catch (error) {
      this.#again(key, error);
    }
    this.#busy.delete(key);
    this.#next();
  }

  #again(key: string, error: unknown): void {
    if (this.#isClosed) return;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
    this.#options.onError(key, error, wait);
    this.addAfter(key, wait);
  }
}
