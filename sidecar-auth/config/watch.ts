import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';

/** Milliseconds between looks at the files; half of the second within which a change must be taken over. */
const POLL_MS = 500;
/** Milliseconds of quiet after an event: an editor's save is several events, and files written in place grow in steps. */
const QUIET_MS = 30;
/** A file written less than this many milliseconds ago is read once more: file systems stamp in steps of some milliseconds. */
const FRESH_MS = 100;

export interface Watched {
  files: string[];
  directory?: string;
}

/**
 * Calls `onChange` when one of the files or the folder's list of names has changed, and once soon after the start.
 * fs.watch makes it quick, the poll makes it sure: fs.watch is blind on some mounts, and to what a symlink leads to.
 */
export class Watch {
  readonly #onChange: () => Watched;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #poll: NodeJS.Timeout;
  #watched: Watched;
  #fingerprint = '';
  #quiet: NodeJS.Timeout | undefined;

  /** `onChange` returns what is to be watched from then on. */
  constructor(watched: Watched, onChange: () => Watched) {
    this.#watched = watched;
    this.#onChange = onChange;
    this.#poll = setInterval(() => this.check(), POLL_MS);
    this.#watchFolders();
  }

  /** Looks at the files now. */
  check(): void {
    const seen = fingerprint(this.#watched);
    if (seen === this.#fingerprint) return;
    const before = this.#watched;
    this.#watched = this.#onChange();
    // Files that were not looked at before the reading count as they are now.
    const same =
      before.directory === this.#watched.directory && before.files.join('\0') === this.#watched.files.join('\0');
    this.#fingerprint = same ? seen : fingerprint(this.#watched);
    this.#watchFolders();
  }

  close(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#quiet);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watchFolders(): void {
    const { directory, files } = this.#watched;
    const folders = new Set([...(directory === undefined ? [] : [directory]), ...files.map((file) => dirname(file))]);
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) if (!this.#watchers.has(folder)) this.#watchFolder(folder);
  }

  #watchFolder(folder: string): void {
    try {
      const watcher = watch(folder, () => this.#event());
      watcher.on('error', () => watcher.close());
      this.#watchers.set(folder, watcher);
    } catch {
      // No such folder, or no more inotify watches: the poll sees it.
    }
  }

  #event(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.check(), QUIET_MS);
  }
}

function fingerprint({ files, directory }: Watched): string {
  return [names(directory), ...files.map(stamp)].join('\n');
}

function names(directory: string | undefined): string {
  if (directory === undefined) return '';
  try {
    return readdirSync(directory).sort().join('/');
  } catch {
    return '-';
  }
}

function stamp(file: string): string {
  try {
    const { ino, size, mtimeNs, mtimeMs } = statSync(file, { bigint: true });
    const fresh = Math.abs(Date.now() - Number(mtimeMs)) < FRESH_MS;
    return `${file} ${ino} ${size} ${mtimeNs}${fresh ? ' fresh' : ''}`;
  } catch {
    return `${file} -`;
  }
}
