import { lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { type EnvoyListener, listenersResource } from '../../envoy/listener.ts';
import { addressText } from '../config/address.ts';
import type { Entry } from '../route/table.ts';
import { addressHash } from './id.ts';
import { inTheWay, isAbandoned } from './in-the-way.ts';

/** Milliseconds until an address that was taken is tried again. */
const RETRY_MS = 2000;
/** Milliseconds that Envoy has to close a socket whose listener is gone, before it is looked at and between two looks. */
const CLOSING_MS = 500;
/** Looks at such a socket: Envoy needs one or two; where another program has taken the path it is none of ours. */
const LOOKS = 20;

export interface PublishOptions {
  /** Written for Envoy, which watches it. */
  listenersFile: string;
  filterFile: string;
  log: Pick<Logger, 'info' | 'error'>;
}

/** Writes Envoy's listeners. A new address is published only when it is free; until then it is left out and tried again. */
export class Publisher {
  readonly #options: PublishOptions;
  /** Hashes of the addresses that Envoy has open, as far as this process told it to. */
  #held: Set<string>;
  #refused = new Map<string, string>();
  #written: string;
  #entries: Entry[] = [];
  #work = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  /** Paths of sockets whose listeners are gone, with the looks that are left. */
  readonly #leaving = new Map<string, number>();
  #cleaning: NodeJS.Timeout | undefined;
  #closed = false;

  /** `held`: hashes of addresses that Envoy has open from before, which so are taken by us. */
  constructor(options: PublishOptions, held: Iterable<string>) {
    this.#options = options;
    this.#held = new Set(held);
    this.#written = readIfThere(options.listenersFile);
  }

  /** Resolves when the file stands. One after the other; the last entries win. */
  publish(entries: Entry[]): Promise<void> {
    this.#entries = entries;
    const done = this.#work.then(() => this.#publish());
    this.#work = done.catch(() => {}); // told to this caller; the next one tries again
    return done;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#cleaning);
  }

  async #publish(): Promise<void> {
    clearTimeout(this.#retry);
    const entries = this.#entries;
    const usable = await Promise.all(entries.map((entry) => this.#isUsable(entry)));
    if (this.#closed) return;
    const published = entries.filter((_, index) => usable[index]);
    this.#held = new Set(published.map(({ listener }) => addressHash(listener.address)));
    this.#write(published);
    if (published.length < entries.length) this.#retryLater();
  }

  #retryLater(): void {
    this.#retry = setTimeout(() => {
      this.publish(this.#entries).catch((error) =>
        this.#options.log.error({ error: String(error) }, 'publishing failed'),
      );
    }, RETRY_MS);
  }

  async #isUsable({ listenerId, listener: { address } }: Entry): Promise<boolean> {
    const why = this.#held.has(addressHash(address)) ? undefined : await inTheWay(address);
    const { log } = this.#options;
    const shown = { listener: listenerId, address: addressText(address) };
    if (why !== this.#refused.get(listenerId)) {
      if (why) log.error(shown, `this listener is left out until its address can be used: ${why}`);
      else log.info(shown, 'the address of this listener can be used now');
    }
    if (why) this.#refused.set(listenerId, why);
    else this.#refused.delete(listenerId);
    return !why;
  }

  /** By rename, so that Envoy never reads half a file; only where something changed, for Envoy looks at each new one. */
  #write(entries: Entry[]): void {
    const { listenersFile, filterFile } = this.#options;
    const text = `${JSON.stringify(listenersResource(entries.map(envoyListener), filterFile), null, 1)}\n`;
    if (text === this.#written) return;
    writeFileSync(`${listenersFile}.new`, text, { mode: 0o600 });
    renameSync(`${listenersFile}.new`, listenersFile);
    for (const path of socketPaths(this.#written)) this.#leaving.set(path, LOOKS);
    for (const path of socketPaths(text)) this.#leaving.delete(path);
    this.#written = text;
    this.#cleanLater();
  }

  #cleanLater(): void {
    clearTimeout(this.#cleaning);
    if (this.#leaving.size === 0 || this.#closed) return;
    this.#cleaning = setTimeout(() => {
      // In line with publishing: a listener that comes back is never robbed of its socket.
      this.#work = this.#work.then(() => this.#clean()).catch(() => {});
    }, CLOSING_MS);
  }

  /** Envoy leaves the file behind when it closes a Unix socket. */
  async #clean(): Promise<void> {
    for (const [path, looks] of this.#leaving) {
      if (await isAbandoned(path)) rmSync(path, { force: true });
      if (looks <= 1 || !lstatSync(path, { throwIfNoEntry: false })) this.#leaving.delete(path);
      else this.#leaving.set(path, looks - 1);
    }
    this.#cleanLater();
  }
}

/** The Unix sockets in a listeners file. */
function socketPaths(listenersFile: string): string[] {
  try {
    const { resources } = JSON.parse(listenersFile) as { resources: { address: { pipe?: { path: string } } }[] };
    return resources.flatMap(({ address }) => address.pipe?.path ?? []);
  } catch {
    return []; // none was written yet
  }
}

function envoyListener({ listenerId, listener }: Entry): EnvoyListener {
  return { id: listenerId, address: listener.address, exactBalance: listener.maxConnectionsSet };
}

export function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
