import { readFileSync, statSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { Mistake } from './mistakes.ts';
import { hasForbiddenOctet, Section } from './section.ts';

/** Octets of one file. A destination has some 20 lines, 10,000 listeners fit into 1 MiB. */
const SIZE_LIMIT = 1024 * 1024;

/**
 * A file's text, without the byte order mark that some editors put before it; a mistake (reported at `at`) where it can't be read, is
 * too large or is not UTF-8: with replaced characters a password would be another one.
 */
export function readText(file: string, at: (text: string) => void): string | undefined {
  const octets = readOctets(file);
  const text = typeof octets === 'string' ? octets : toText(octets);
  if (typeof text === 'string') at(text);
  return typeof text === 'string' ? undefined : text?.text;
}

/** The text of a PEM file. Its blocks are ASCII; what stands around them may be in any encoding. */
export function readPemText(file: string, at: (text: string) => void): string | undefined {
  const octets = readOctets(file);
  if (typeof octets !== 'string') return octets.toString('latin1');
  at(octets);
  return undefined;
}

/** The octets, or why there are none. */
function readOctets(file: string): Buffer | string {
  try {
    const stat = statSync(file);
    if (stat.isFile() && stat.size <= SIZE_LIMIT) return readFileSync(file);
    return stat.isFile() ? `must not be larger than ${SIZE_LIMIT} octets` : `${file} is not a file`;
  } catch (error) {
    return `${file} can't be read (${(error as NodeJS.ErrnoException).code})`;
  }
}

function toText(octets: Buffer): { text: string } | string {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(octets) };
  } catch {
    return 'must be UTF-8 text';
  }
}

/**
 * A YAML or JSON file (JSON is YAML 1.2) as one section. Every scalar stays the text that stands in the file: with YAML's own
 * types an unquoted password `0123` would become `123`.
 */
export function readDocument(file: string, mistakes: Mistake[]): Section | undefined {
  const text = readText(file, (what) => mistakes.push({ file, key: '', text: what }));
  if (text === undefined) return undefined;
  const lines = new LineCounter();
  // No pretty errors: they quote the file, in which passwords stand.
  const document = parseDocument(text, {
    schema: 'failsafe',
    customTags: ['null'],
    prettyErrors: false,
    logLevel: 'error',
    lineCounter: lines,
  });
  const [error] = document.errors; // the others follow from it
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    const text = `is not valid YAML or JSON (${error.code}) at line ${line}, column ${col}`;
    mistakes.push({ file, key: '', text });
    return undefined;
  }
  const values = toValue(() => document.toJS({ mapAsMap: true }));
  return new Section(file, '', values, mistakes);
}

/** `toJS` throws on unresolved or too many aliases: then there is no mapping, which the section reports. */
function toValue(read: () => unknown): unknown {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The secret in `key`, or in the file that `<key>File` names: one newline at its end is not part of it. */
export function readSecret(section: Section, key: string, files: string[]): string | undefined {
  const fileKey = `${key}File`;
  if (section.has(key) && section.has(fileKey)) return section.mistake(fileKey, `must not stand beside ${key}`);
  const file = section.path(fileKey);
  if (file === undefined) return checked(section, key, section.text(key));
  files.push(file);
  const text = readText(file, (what) => section.mistake(fileKey, what));
  return text === undefined ? undefined : checked(section, fileKey, text.replace(/\r?\n$/, ''));
}

/** The same; a mistake where there is neither. */
export function requiredSecret(section: Section, key: string, files: string[]): string | undefined {
  if (section.has(key) || section.has(`${key}File`)) return readSecret(section, key, files);
  return section.mistake(key, `is missing; it must be ${SECRET}, or ${key}File the path of a file that holds it`);
}

/** A user's name, of the contract's size. */
export function readUser(section: Section, key: string): string | undefined {
  return checked(section, key, section.required(key, SECRET));
}

/** Octets of a user or password: the contract's limit. */
const SECRET_LIMIT = 1024;
export const SECRET = `a text of 1 to ${SECRET_LIMIT} octets`;

function checked(section: Section, key: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (hasForbiddenOctet(value)) return section.mistake(key, 'must not contain CR, LF, NUL or \\x01');
  const size = Buffer.byteLength(value);
  return size > 0 && size <= SECRET_LIMIT ? value : section.mistake(key, `must have 1 to ${SECRET_LIMIT} octets`);
}
