import { setTimeout as sleep } from 'node:timers/promises';
import { keyOf } from '../resource.ts';
import type { Api } from './api.ts';

/** Milliseconds before the API server is asked again after a failure; doubles, and random, so that many do not come back together. */
const LEAST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** Seconds of one watch: then everything is listed anew, which makes up for a change that no watch has told. */
const WATCH_SECONDS = 240;

export interface Named {
  metadata: { name: string; namespace?: string; resourceVersion?: string };
}

export interface FollowOptions<T extends Named> {
  api: Api;
  /** Of a collection, such as /api/v1/namespaces. */
  path: string;
  labelSelector?: string;
  /** After each change, and after the first list. */
  onChange: (items: ReadonlyMap<string, T>) => void;
  log: { warn(details: object, text: string): void; info(details: object, text: string): void };
  /** For tests. */
  pause?: (ms: number) => Promise<unknown>;
}

/** A collection of the API server, as it is now: listed, then watched, for ever. What is known stays while the API server is away. */
export class Follow<T extends Named> {
  /** Resolves with the first list. */
  readonly synced: Promise<void>;
  readonly #options: FollowOptions<T>;
  #items = new Map<string, T>();
  #isSynced = () => {};
  #stopped = false;
  #reported = '';

  constructor(options: FollowOptions<T>) {
    this.#options = options;
    this.synced = new Promise((resolve) => {
      this.#isSynced = resolve;
    });
    void this.#run();
  }

  /** By `namespace/name`. */
  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { pause = sleep } = this.#options;
    let longest = LEAST_PAUSE;
    while (!this.#stopped) {
      try {
        const version = await this.#list();
        longest = LEAST_PAUSE;
        if (!this.#stopped) await this.#watch(version);
      } catch (error) {
        if (this.#stopped) return;
        this.#report(error);
        await pause(longest * (0.5 + Math.random() / 2));
        longest = Math.min(longest * 2, LONGEST_PAUSE);
      }
    }
  }

  async #list(): Promise<string> {
    const { api, path } = this.#options;
    const { status, body } = await api.get(path, this.#selector);
    const list = body as { items?: T[]; metadata?: { resourceVersion?: string } } | undefined;
    if (status !== 200 || !Array.isArray(list?.items)) throw new Error(`the API server answers ${status}`);
    if (this.#stopped) return '';
    this.#items = new Map(list.items.map((item) => [keyOf(item), item]));
    this.#good();
    this.#isSynced();
    this.#options.onChange(this.#items);
    return list.metadata?.resourceVersion ?? '';
  }

  /** Where it begins too late (410) or ends with an error, everything is listed anew. */
  async #watch(resourceVersion: string): Promise<void> {
    const { api, path } = this.#options;
    const seconds = Math.round(WATCH_SECONDS * (0.75 + Math.random() / 2));
    const query = { ...this.#selector, resourceVersion, timeoutSeconds: `${seconds}` };
    let failure: string | undefined;
    await api.watch(path, query, ({ type, object }) => {
      if (this.#stopped || type === 'BOOKMARK') return;
      if (type === 'ERROR') failure = `the watch ends: ${(object as { reason?: string }).reason}`;
      else this.#take(type, object as T);
    });
    if (failure !== undefined) throw new Error(failure);
  }

  #take(type: 'ADDED' | 'MODIFIED' | 'DELETED', item: T): void {
    if (type === 'DELETED') this.#items.delete(keyOf(item));
    else this.#items.set(keyOf(item), item);
    this.#options.onChange(this.#items);
  }

  get #selector(): Record<string, string> {
    const { labelSelector } = this.#options;
    return labelSelector === undefined ? {} : { labelSelector };
  }

  /** Once for each kind of failure. */
  #report(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    if (text === this.#reported) return;
    this.#reported = text;
    const { log, path } = this.#options;
    log.warn({ path, error: text }, 'the API server can not be followed; what it said last is used');
  }

  #good(): void {
    if (this.#reported === '') return;
    this.#reported = '';
    this.#options.log.info({ path: this.#options.path }, 'the API server is followed again');
  }
}
