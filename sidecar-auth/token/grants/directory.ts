import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, readFile, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DRAFT_MS, FOLDER_GRANTS, GRANT_UNUSED_MS, PRUNE_MS } from '../limits.ts';
import { isOver } from './envelope.ts';
import { type GrantStore, isPresented, type Stored, StoreFull } from './store.ts';

/**
 * A folder (mode 0700) with one folder per entry, and in it one file (mode 0600) whose name is the version's number. The next version is written
 * beside it and gets its name by link(2), which only one process can do; so there is no lock that a killed one could leave behind, and
 * at every moment the highest number is a whole file. An entry that was removed and made anew has the same numbers again, so a version
 * is the number together with a hash of the content.
 */
export class DirectoryStore implements GrantStore {
  readonly #directory: string;
  readonly #limit: number;
  /** Date.now() when it was looked through the last time, and that look while it goes on. */
  #prunedAt = 0;
  #pruning: Promise<void> | undefined;

  /** @param limit of grants that apps present; those who come at the same time may exceed it a little */
  constructor(directory: string, limit = FOLDER_GRANTS) {
    this.#directory = directory;
    this.#limit = limit;
  }

  async read(name: string): Promise<Stored | undefined> {
    for (;;) {
      const number = (await this.#numbers(name)).at(-1);
      if (number === undefined) return undefined;
      const text = await ifThere(readFile(this.#path(name, number), 'utf8'));
      // Replaced between the two: the next one is there already.
      if (text !== undefined) return { text, version: versionOf(number, text) };
    }
  }

  async write(name: string, text: string, version: string | undefined): Promise<string | undefined> {
    if (version === undefined && isPresented(name)) await this.#makeRoom();
    const next = numberOf(version) + 1;
    const folder = join(this.#directory, name);
    const draft = join(folder, `.${randomBytes(8).toString('hex')}`);
    try {
      await writeDurably(folder, draft, text);
      if ((await this.read(name))?.version !== version || !(await linked(draft, this.#path(name, next))))
        return undefined;
    } finally {
      await ifThere(unlink(draft));
    }
    await syncFolder(folder);
    return (await this.#settle(name, next, version)) ? versionOf(next, text) : undefined;
  }

  /** Who was so slow that its number was free again, or that what it has seen is gone, has lost all the same. */
  async #settle(name: string, own: number, seen: string | undefined): Promise<boolean> {
    const kept = seen === undefined || (await this.#versionAt(name, own - 1)) === seen;
    const numbers = await this.#numbers(name);
    const won = kept && numbers.at(-1) === own;
    const outdated = numbers.filter((number) => (won ? number < own : number === own));
    for (const number of outdated) await ifThere(unlink(this.#path(name, number)));
    await this.#sweep(name);
    return won;
  }

  async remove(name: string, version: string): Promise<void> {
    if ((await this.read(name))?.version !== version) return;
    await ifThere(unlink(this.#path(name, numberOf(version))));
    // Fails where another version is there by now, and shall.
    await rmdir(join(this.#directory, name)).catch(() => {});
  }

  has(name: string): boolean {
    try {
      return readdirSync(join(this.#directory, name)).some(isNumber);
    } catch {
      return false;
    }
  }

  /** Removes grants of apps that nobody has used for half a year, and what a killed process left behind. */
  async prune(now = Date.now()): Promise<void> {
    this.#prunedAt = now;
    for (const name of await this.#names()) {
      const folder = join(this.#directory, name);
      const used = await ifThere(stat(folder));
      if (!used?.isDirectory()) continue;
      if (isPresented(name) && now - used.mtimeMs > GRANT_UNUSED_MS) await rm(folder, { recursive: true, force: true });
      else {
        await this.#sweep(name, now);
        if (isPresented(name)) await this.#removeIfOver(name, now);
        await rmdir(folder).catch(() => {}); // where a draft was all there was
      }
    }
  }

  async #removeIfOver(name: string, now: number): Promise<void> {
    const stored = await this.read(name);
    if (stored && isOver(stored.text, now)) await this.remove(name, stored.version);
  }

  async #makeRoom(): Promise<void> {
    if (!(await this.#isFull())) return;
    if (Date.now() - this.#prunedAt > PRUNE_MS) this.#pruning = this.prune();
    await this.#pruning;
    if (await this.#isFull()) throw new StoreFull();
  }

  async #isFull(): Promise<boolean> {
    return (await this.#names()).filter(isPresented).length >= this.#limit;
  }

  async #names(): Promise<string[]> {
    return (await ifThere(readdir(this.#directory))) ?? [];
  }

  /** Drafts of processes that were killed hold a grant like any version. */
  async #sweep(name: string, now = Date.now()): Promise<void> {
    const folder = join(this.#directory, name);
    for (const file of (await ifThere(readdir(folder))) ?? []) {
      const draft = file.startsWith('.') ? await ifThere(stat(join(folder, file))) : undefined;
      if (draft && now - draft.mtimeMs > DRAFT_MS) await ifThere(unlink(join(folder, file)));
    }
  }

  async #numbers(name: string): Promise<number[]> {
    const files = (await ifThere(readdir(join(this.#directory, name)))) ?? [];
    return files
      .filter(isNumber)
      .map(Number)
      .sort((a, b) => a - b);
  }

  async #versionAt(name: string, number: number): Promise<string | undefined> {
    const text = await ifThere(readFile(this.#path(name, number), 'utf8'));
    return text === undefined ? undefined : versionOf(number, text);
  }

  #path(name: string, number: number): string {
    return join(this.#directory, name, `${number}`);
  }
}

function versionOf(number: number, text: string): string {
  return `${number}-${createHash('sha256').update(text).digest('hex')}`;
}

function numberOf(version: string | undefined): number {
  return Number.parseInt(version ?? '0', 10);
}

function isNumber(file: string): boolean {
  return /^\d+$/.test(file);
}

async function writeDurably(folder: string, file: string, text: string): Promise<void> {
  const handle = await create(folder, file);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Again where another process has removed the folder with its last entry just now. */
async function create(folder: string, file: string): Promise<FileHandle> {
  for (let attempt = 1; ; attempt++) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      return await open(file, 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 5) throw error;
    }
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A name in a folder is durable when the folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
