import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { readSmall, stamp } from './files.ts';
import { BINDING_LIMIT } from './limits.ts';

/** What a service binding of the Connectivity service holds of interest here. */
export interface Binding {
  clientid: string;
  clientsecret: string;
  /** XSUAA's base address; the token endpoint is `oauth/token` below it. */
  url: string;
}

const KEYS = ['clientid', 'clientsecret', 'url'] as const;

/** Changes when one of the binding's files does. Throws a Failure of code `token`. */
export async function bindingStamp(path: string): Promise<string> {
  if (!(await isDirectory(path))) return stamp(path);
  return (await Promise.all(KEYS.map((key) => stamp(join(path, key))))).join();
}

/** Reads a directory with one file per key (a mounted Kubernetes secret, servicebinding.io) or one JSON file. */
export async function readBinding(path: string): Promise<Binding> {
  const values = (await isDirectory(path)) ? await readKeys(path) : parse(await readSmall(path, BINDING_LIMIT));
  const [clientid, clientsecret, url] = KEYS.map((key) => required(values, key)) as [string, string, string];
  return { clientid, clientsecret, url };
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function readKeys(path: string): Promise<Record<string, unknown>> {
  const values = await Promise.all(KEYS.map((key) => readSmall(join(path, key), BINDING_LIMIT)));
  return Object.fromEntries(KEYS.map((key, index) => [key, values[index]?.replace(/\r?\n$/, '')]));
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    // The parser's own text quotes what it found, which may be the secret.
    throw new Failure('token', 'the service binding is not valid JSON', { retry: false });
  }
}

function required(values: Record<string, unknown>, key: string): string {
  const value = values[key];
  if (typeof value === 'string' && value !== '') return value;
  throw new Failure('token', `the service binding has no ${key}`, { retry: false });
}
