import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, readFile, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { GRANT_UNUSED_MS } from '../limits.ts';
import type { GrantStore, Stored } from './store.ts';

/**
 * A folder (mode 0700) with one folder per entry, and in it one file (mode 0600) whose name is the version's number. The next version is written
 * beside it and gets its name by link(2), which only one process can do; so there is no lock that a killed one could leave behind, and
 * at every moment the highest number is a whole file.
 */
export class DirectoryStore implements GrantStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async read(name: string): Promise<Stored | undefined> {
    for (;;) {
      const version = (await this.#versions(name)).at(-1);
      if (version === undefined) return undefined;
      const text = await ifThere(readFile(this.#path(name, version), 'utf8'));
      // Replaced between the two: the next one is there already.
      if (text !== undefined) return { text, version: `${version}` };
    }
  }

  async write(name: string, text: string, version: string | undefined): Promise<string | undefined> {
    const next = Number(version ?? 0) + 1;
    const folder = join(this.#directory, name);
    const draft = join(folder, `.${randomBytes(8).toString('hex')}`);
    try {
      await writeDurably(folder, draft, text);
      if (!(await linked(draft, this.#path(name, next)))) return undefined;
    } finally {
      await ifThere(unlink(draft));
    }
    await syncFolder(folder);
    return await this.#settle(name, next);
  }

  /** Who was so slow that its number was free again has lost all the same. */
  async #settle(name: string, own: number): Promise<string | undefined> {
    const versions = await this.#versions(name);
    const lost = (versions.at(-1) ?? 0) > own;
    const outdated = versions.filter((version) => (lost ? version === own : version < own));
    for (const version of outdated) await ifThere(unlink(this.#path(name, version)));
    return lost ? undefined : `${own}`;
  }

  async remove(name: string, version: string): Promise<void> {
    await ifThere(unlink(this.#path(name, Number(version))));
    // Fails where another version is there by now, and shall.
    await rmdir(join(this.#directory, name)).catch(() => {});
  }

  has(name: string): boolean {
    return existsSync(join(this.#directory, name));
  }

  /** Removes what nobody has used for half a year, and what a killed process left behind. Names for which `keeps` is true stay. */
  async prune(keeps: (name: string) => boolean, now = Date.now()): Promise<void> {
    for (const name of (await ifThere(readdir(this.#directory))) ?? []) {
      const folder = join(this.#directory, name);
      const used = await ifThere(stat(folder));
      if (used && !keeps(name) && now - used.mtimeMs > GRANT_UNUSED_MS)
        await rm(folder, { recursive: true, force: true });
    }
  }

  async #versions(name: string): Promise<number[]> {
    const files = (await ifThere(readdir(join(this.#directory, name)))) ?? [];
    return files
      .filter((file) => /^\d+$/.test(file))
      .map(Number)
      .sort((a, b) => a - b);
  }

  #path(name: string, version: number): string {
    return join(this.#directory, name, `${version}`);
  }
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
