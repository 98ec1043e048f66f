import { dirname, resolve } from 'node:path';
import type { Mistake } from './mistakes.ts';

/** CR, LF and NUL would end or split a protocol line, \x01 a SASL XOAUTH2 message. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const FORBIDDEN = /[\r\n\0\x01]/;

export function hasForbiddenOctet(value: string): boolean {
  return FORBIDDEN.test(value);
}

/**
 * One mapping of a configuration file. Reading a key marks it as known; `finish()` reports the rest, so the list of allowed
 * keys is never written down twice. Every getter reports a mistake and returns `undefined` where a value is unusable.
 */
export class Section {
  readonly file: string;
  readonly #mistakes: Mistake[];
  readonly #path: string;
  readonly #values: Map<string, unknown>;
  readonly #known = new Set<string>();

  constructor(file: string, path: string, values: unknown, mistakes: Mistake[]) {
    this.file = file;
    this.#path = path;
    this.#mistakes = mistakes;
    this.#values = values instanceof Map ? values : new Map();
    if (!(values instanceof Map)) this.mistake('', 'must be a mapping of keys to values');
  }

  /** The keys as they stand in the file. */
  get keys(): string[] {
    return [...this.#values.keys()];
  }

  mistake(key: string, text: string): undefined {
    this.#mistakes.push({ file: this.file, key: this.#full(key), text });
  }

  has(key: string): boolean {
    this.#known.add(key);
    return this.#values.has(key);
  }

  isText(key: string): boolean {
    return typeof this.#values.get(key) === 'string';
  }

  /** A non-empty text without CR, LF, NUL and \x01. */
  text(key: string): string | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#values.get(key);
    if (typeof value !== 'string' || value === '') return this.mistake(key, 'must be a text that is not empty');
    if (FORBIDDEN.test(value)) return this.mistake(key, 'must not contain CR, LF, NUL or \\x01');
    return value;
  }

  required(key: string): string | undefined {
    return this.has(key) ? this.text(key) : this.mistake(key, 'is missing');
  }

  choice<T extends string>(key: string, allowed: readonly T[]): T | undefined {
    const value = this.text(key);
    if (value === undefined || allowed.includes(value as T)) return value as T | undefined;
    return this.mistake(key, `must be one of ${allowed.join(', ')}`);
  }

  integer(key: string, least: number, most: number): number | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= least && number <= most) return number;
    return this.mistake(key, `must be a whole number from ${least} to ${most}`);
  }

  flag(key: string): boolean | undefined {
    const value = this.text(key);
    if (value === undefined) return undefined;
    const lower = value.toLowerCase();
    return lower === 'true' || lower === 'false' ? lower === 'true' : this.mistake(key, 'must be true or false');
  }

  /** A path, relative to the file in which it stands. */
  path(key: string): string | undefined {
    const value = this.text(key);
    return value === undefined ? undefined : this.absolute(value);
  }

  absolute(path: string): string {
    return resolve(dirname(this.file), path);
  }

  section(key: string): Section | undefined {
    return this.has(key) ? this.#child(key, this.#values.get(key)) : undefined;
  }

  list(key: string): unknown[] {
    if (!this.has(key)) return [];
    const value = this.#values.get(key);
    if (Array.isArray(value)) return value;
    this.mistake(key, 'must be a list');
    return [];
  }

  sections(key: string): Section[] {
    return this.list(key).map((value, index) => this.#child(`${key}[${index}]`, value));
  }

  /** Reports every key that nobody has asked for. */
  finish(): void {
    const allowed = [...this.#known].join(', ');
    for (const key of this.keys) {
      if (!this.#known.has(key)) this.mistake(key, `is not known here; allowed are ${allowed}`);
    }
  }

  #child(key: string, value: unknown): Section {
    return new Section(this.file, this.#full(key), value, this.#mistakes);
  }

  #full(key: string): string {
    return this.#path && key ? `${this.#path}.${key}` : this.#path || key;
  }
}
