import { createHash } from 'node:crypto';
import { GRANT_LEAST, SECRET_LIMIT, SECRET_MOST } from '../limits.ts';
import { isOver } from './envelope.ts';
import { isPresented, type Stored, StoreFull } from './store.ts';

/** The entries of a Kubernetes Secret, and what is to be changed in them. */
export class SecretDraft {
  /** In base64, as they stand in the Secret; `null` for those that go. */
  readonly changes: Record<string, string | null> = {};
  readonly #entries: Map<string, string>;
  #size: number;

  constructor(data: Record<string, string> = {}) {
    this.#entries = new Map(Object.entries(data));
    this.#size = [...this.#entries].reduce((sum, [name, value]) => sum + sizeOf(name, value), 0);
  }

  get isChanged(): boolean {
    return Object.keys(this.changes).length > 0;
  }

  get names(): Iterable<string> {
    return this.#entries.keys();
  }

  read(name: string): Stored | undefined {
    const value = this.#entries.get(name);
    return value === undefined ? undefined : { text: textOf(value), version: versionOf(value) };
  }

  /** @throws StoreFull */
  write(name: string, text: string): string {
    const value = Buffer.from(text).toString('base64');
    const old = this.#entries.get(name);
    const growth = sizeOf(name, value) - (old === undefined ? 0 : sizeOf(name, old));
    const limit = old === undefined && isPresented(name) ? SECRET_LIMIT : SECRET_MOST;
    const isTooMuch = () => growth > 0 && this.#size + growth > limit;
    if (isTooMuch()) this.#sweep(name);
    if (isTooMuch()) throw new StoreFull();
    this.#size += growth;
    this.#entries.set(name, value);
    this.changes[name] = value;
    return versionOf(value);
  }

  remove(name: string): void {
    const value = this.#entries.get(name);
    if (value === undefined) return;
    this.#size -= sizeOf(name, value);
    this.#entries.delete(name);
    this.changes[name] = null;
  }

  /** What nobody can miss goes; what is in use never does. */
  #sweep(except: string): void {
    for (const [name, value] of [...this.#entries])
      if (name !== except && isPresented(name) && isOver(textOf(value))) this.remove(name);
  }
}

function sizeOf(name: string, value: string): number {
  const octets = name.length + Math.ceil((value.length * 3) / 4);
  return isPresented(name) ? Math.max(octets, GRANT_LEAST) : octets;
}

function textOf(value: string): string {
  return Buffer.from(value, 'base64').toString('utf8');
}

function versionOf(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}
