import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Informer,
  type KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  makeInformer,
  type ObjectCache,
} from '@kubernetes/client-node';
import type { Api } from './api.ts';

/** A watch that ended with an error begins anew, with a list, after so long. */
const RETRY_MS = 500;
/** A list, and the first sign of a watch: after that it has failed. */
const BEGIN_MS = 20_000;
/** The API server ends a watch after this; the library goes on where it was. */
const WATCH_SECONDS = 240;

export interface FollowOptions<T> {
  config: KubeConfig;
  api: Api;
  /** Of a collection, such as `/api/v1/services`. */
  path: string;
  /** Only objects with these labels. */
  labelSelector?: string;
  /** For every object that came, changed or went; also where that was missed and a list shows it. */
  onChange: (object: T) => void;
  onError: (error: unknown) => void;
}

/** The little that must be known of an object here; the library's own type has dates where JSON has texts. */
export interface Named {
  metadata: { name: string; namespace?: string };
}

type Library = KubernetesObject & Named;
type Cache = Informer<Library> & ObjectCache<Library>;

/** The objects of a collection as they are, by the library's informer. */
export class Follow<T extends Named> {
  readonly #options: FollowOptions<T>;
  #informer: Cache | undefined;
  #isWaiting = false;
  /** The failure that was told last: the same is told once. */
  #reported = '';
  #isClosed = false;

  constructor(options: FollowOptions<T>) {
    this.#options = options;
  }

  /** Resolves when the first list is there: from then on what is not in `list` does not exist. */
  async start(signal: AbortSignal): Promise<void> {
    while (!(await this.#begin())) await sleep(RETRY_MS, undefined, { signal });
  }

  list(): readonly T[] {
    return (this.#informer?.list() ?? []) as unknown as readonly T[];
  }

  get(name: string, namespace?: string): T | undefined {
    return this.#informer?.get(name, namespace) as T | undefined;
  }

  /** Lists anew: a watch can be dead without anybody noticing. What was there before stays until the list has come. */
  async renew(): Promise<void> {
    if (!(await this.#begin())) this.#later();
  }

  close(): void {
    this.#isClosed = true;
    this.#informer?.stop();
  }

  /** Whether the list could be had. */
  async #begin(): Promise<boolean> {
    const { config, path, labelSelector, onChange } = this.#options;
    const onError = (error: unknown) => this.#report(error);
    let hasList = false;
    let hasFailed = false;
    let hasBegun = false;
    const list = async () => {
      const objects = await this.#list();
      hasList = true;
      return objects;
    };
    const watched = `${path}?allowWatchBookmarks=true&timeoutSeconds=${WATCH_SECONDS}`;
    const informer = makeInformer<Library>(config, watched, list, labelSelector);
    const isCurrent = () => this.#informer === informer;
    for (const verb of ['add', 'update', 'delete'] as const) {
      informer.on(verb, (object) => isCurrent() && onChange(object as unknown as T));
    }
    informer.on('error', (error) => {
      hasFailed = true;
      // The end of one that was replaced is no error.
      if (this.#isClosed || (hasBegun && !isCurrent())) return;
      onError(error);
      if (isCurrent()) this.#later();
    });
    // Resolves when the watch has begun, too, or on an error of the API server's.
    const begun = informer.start().then(() => true, onError);
    const isInTime = await Promise.race([begun, sleep(BEGIN_MS, false, { ref: false })]);
    hasBegun = true;
    if (!isInTime) hasFailed = true;
    if (hasList) this.#use(informer);
    if (hasList && hasFailed) this.#later();
    return hasList;
  }

  #report(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#options.onError(error);
  }

  #use(informer: Cache): void {
    if (this.#isClosed) {
      informer.stop();
      return;
    }
    this.#reported = '';
    const before = this.list();
    this.#informer?.stop();
    this.#informer = informer;
    for (const object of this.list()) this.#options.onChange(object);
    for (const object of before) if (!this.#has(object)) this.#options.onChange(object);
  }

  #has({ metadata }: Named): boolean {
    return this.get(metadata.name, metadata.namespace) !== undefined;
  }

  #later(): void {
    if (this.#isWaiting || this.#isClosed) return;
    this.#isWaiting = true;
    sleep(RETRY_MS, undefined, { ref: false }).then(() => {
      this.#isWaiting = false;
      if (!this.#isClosed) this.renew();
    });
  }

  async #list(): Promise<KubernetesListObject<Library>> {
    const { api, path, labelSelector } = this.#options;
    const query = labelSelector === undefined ? '' : `?labelSelector=${encodeURIComponent(labelSelector)}`;
    const list = await api.get<KubernetesListObject<Library>>(`${path}${query}`);
    // In a list the objects themselves do not say what they are.
    const kind = { apiVersion: list.apiVersion ?? '', kind: (list.kind ?? '').replace(/List$/, '') };
    return { ...list, items: list.items.map((item) => ({ ...kind, ...item })) };
  }
}
