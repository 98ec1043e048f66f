import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { Failure } from '../failure.ts';
import { object, parseObject } from './binding.ts';
import { readSmall, stamp, told } from './files.ts';
import { BINDING_FILES, BINDING_LIMIT } from './limits.ts';

/** Where a binding's values are: read again when the stamp changes. */
export interface Place {
  stamp: string;
  read: () => Promise<Record<string, unknown>>;
}

/**
 * Finds a binding by path (a JSON file, or a folder with one file per key or one JSON file) or by name: a folder of
 * SERVICE_BINDING_ROOT (https://servicebinding.io, by the folder's name, the instance's name or the type) or an entry
 * of VCAP_SERVICES (by the binding's or instance's name, or the service's). Throws a Failure of code `token`.
 */
export async function placeOf(where: string, env: NodeJS.ProcessEnv = process.env): Promise<Place> {
  if (isAbsolute(where)) return await placeAt(where);
  const root = env.SERVICE_BINDING_ROOT;
  const folder = root ? await folderNamed(root, where) : undefined;
  if (folder !== undefined) return await placeAt(folder);
  const values = vcapNamed(env.VCAP_SERVICES, where);
  if (values) return { stamp: 'VCAP_SERVICES', read: async () => values };
  throw failed(`there is no service binding named ${where} in SERVICE_BINDING_ROOT or VCAP_SERVICES`);
}

async function placeAt(path: string): Promise<Place> {
  if (!(await isDirectory(path))) {
    return { stamp: stamp(path), read: async () => parsed(await readSmall(path, BINDING_LIMIT)) };
  }
  const names = await filesOf(path);
  const stamps = names.map((name) => stamp(join(path, name)));
  return { stamp: names.map((name, index) => `${name} ${stamps[index]}`).join(), read: () => readFolder(path, names) };
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** Kubernetes keeps its own links (`..data`) beside the keys, SAP's operator a `.metadata`. */
async function filesOf(folder: string): Promise<string[]> {
  const names = (await told(folder, readdir(folder))).filter((name) => !name.startsWith('.')).sort();
  if (names.length === 0) throw failed(`the service binding ${folder} is an empty folder`, true);
  if (names.length > BINDING_FILES) throw failed(`the service binding ${folder} has more than ${BINDING_FILES} files`);
  return names;
}

/**
 * One file per key; without a key `clientid` the one file whose JSON has it. One line end after a value is not part
 * of it.
 */
async function readFolder(folder: string, names: string[]): Promise<Record<string, unknown>> {
  const texts = await Promise.all(names.map((name) => readSmall(join(folder, name), BINDING_LIMIT)));
  const values = Object.fromEntries(names.map((name, index) => [name, texts[index]?.replace(/\r?\n$/, '')]));
  if ('clientid' in values || 'credentials' in values) return values;
  const holder = Object.values(values)
    .map(object)
    .find((inner) => inner && ('clientid' in inner || 'credentials' in inner));
  return holder ?? values;
}

function parsed(text: string): Record<string, unknown> {
  const values = parseObject(text);
  if (!values) throw failed('the service binding is not valid JSON');
  return values;
}

/** The folder of that name; else the only one whose `instance_name` or `type` says so. */
async function folderNamed(root: string, name: string): Promise<string | undefined> {
  const folders = (await readdir(root).catch(() => [])).filter((entry) => !entry.startsWith('.')).sort();
  if (folders.includes(name)) return join(root, name);
  for (const key of ['instance_name', 'type']) {
    const values = await Promise.all(
      folders.map((folder) => readSmall(join(root, folder, key), BINDING_LIMIT).catch(() => '')),
    );
    const found = folders.filter((_folder, index) => values[index]?.trim() === name);
    if (found.length > 0) return join(root, only(found, name));
  }
  return undefined;
}

interface VcapEntry {
  name?: unknown;
  instance_name?: unknown;
  binding_name?: unknown;
  label?: unknown;
  credentials?: unknown;
}

function vcapNamed(text: string | undefined, name: string): Record<string, unknown> | undefined {
  if (!text) return undefined;
  const services = parseObject(text);
  if (!services) throw failed('VCAP_SERVICES is not valid JSON');
  const entries = Object.values(services).flatMap((list) => (Array.isArray(list) ? (list as VcapEntry[]) : []));
  for (const key of ['binding_name', 'name', 'instance_name', 'label'] as const) {
    const found = entries.filter((entry) => entry?.[key] === name);
    if (found.length > 0) return object(only(found, name).credentials) ?? {};
  }
  return undefined;
}

function only<T>(found: T[], name: string): T {
  const [first] = found;
  if (first === undefined || found.length > 1) throw failed(`more than one service binding answers to ${name}`);
  return first;
}

function failed(text: string, retry = false): Failure {
  return new Failure('token', text, { retry });
}
