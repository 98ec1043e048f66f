import { dirname, resolve } from 'node:path';
import type { Mistake } from './mistakes.ts';

/** CR, LF and NUL would end or split a protocol line, \x01 a SASL XOAUTH2 message. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const FORBIDDEN = /[\r\n\0\x01]/;

export function hasForbiddenOctet(value: string): boolean {
  return FORBIDDEN.test(value);
}

/**
 * A key as it may be shown: what follows an odd character may be a secret, for in YAML's flow style `password:hunter2` is one key.
 */
export function shownKey(key: string): string {
  return /^[\w.[\]-]*/.exec(key)?.[0] ?? '';
}

/** What to say of an unknown key beside that; empty where its odd character is no colon. */
export function colonHint(key: string): string {
  return key[shownKey(key).length] === ':' ? ' (is a space missing after its colon?)' : '';
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
    const entries = values instanceof Map ? [...values] : [];
    this.#values = new Map(entries.filter(([key]) => typeof key === 'string'));
    if (!(values instanceof Map)) this.mistake('', 'must be a mapping of keys to values');
    else if (this.#values.size < entries.length) this.mistake('', 'must have texts as its keys');
  }

  /** The keys as they stand in the file. */
  get keys(): string[] {
    return [...this.#values.keys()];
  }

  mistake(key: string, text: string): undefined {
    this.#mistakes.push({ file: this.file, key: this.#full(shownKey(key)), text });
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

  /** @param what is allowed: `a host name`, for example */
  required(key: string, what: string): string | undefined {
    return this.has(key) ? this.text(key) : this.mistake(key, `is missing; it must be ${what}`);
  }

  /** The text as it stands there, without any check: only to guess what is meant where there is a mistake already. */
  raw(key: string): string {
    const value = this.#values.get(key);
    return typeof value === 'string' ? value : '';
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

  isEmptyList(key: string): boolean {
    const value = this.#values.get(key);
    return Array.isArray(value) && value.length === 0;
  }

  sections(key: string): Section[] {
    return this.list(key).map((value, index) => this.#child(`${key}[${index}]`, value));
  }

  /** Reports every key that nobody has asked for. */
  finish(): void {
    const allowed = [...this.#known].join(', ');
    for (const key of this.keys) {
      if (!this.#known.has(key)) this.mistake(key, `is not known here${colonHint(key)}; allowed are ${allowed}`);
    }
  }

  #child(key: string, value: unknown): Section {
    return new Section(this.file, this.#full(key), value, this.#mistakes);
  }

  #full(key: string): string {
    return this.#path && key ? `${this.#path}.${key}` : this.#path || key;
  }
}
