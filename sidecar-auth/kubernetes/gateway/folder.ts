import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDERS = ['', 'destinations', 'secrets'];

/** A private folder (mode 0700, files 0600) whose files are always those of one set. */
export class Folder {
  readonly path: string;
  #written: ReadonlyMap<string, string>;

  /** What an earlier process left there is known. @throws Error where others may read it */
  constructor(path: string) {
    this.path = path;
    for (const folder of FOLDERS) makePrivate(join(path, folder));
    this.#written = new Map(FOLDERS.flatMap((folder) => textsIn(path, folder)));
  }

  read(name: string): string | undefined {
    return this.#written.get(name);
  }

  /**
   * Each file is replaced by rename, and only where it has changed; in the order of `files`, and what is no part of them is removed at last, so that a crash in the
   * middle leaves no file that names another which is not there. In one go: who follows the files in this process never sees half of a set.
   */
  write(files: ReadonlyMap<string, string>): void {
    for (const [name, text] of files) {
      if (this.#written.get(name) === text) continue;
      const path = join(this.path, name);
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    }
    for (const name of this.#written.keys()) if (!files.has(name)) rmSync(join(this.path, name), { force: true });
    this.#written = new Map(files);
  }
}

function makePrivate(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(path);
  if ((mode & 0o077) === 0) return;
  if (uid !== process.getuid?.())
    throw new Error(`${path} belongs to another user: name a folder below it, which is then made`);
  chmodSync(path, 0o700);
}

function textsIn(path: string, folder: string): [string, string][] {
  const entries = readdirSync(join(path, folder), { withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map(({ name }) => [join(folder, name), readFileSync(join(path, folder, name), 'utf8')]);
}
