import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { object, parseObject, toBinding } from '../binding/binding.ts';
import { BINDING_FILES } from '../binding/limits.ts';
import { Failure } from '../failure.ts';
import { readText } from './document.ts';

/**
 * Why the service binding at a path (as binding/place.ts reads it, when it is needed) can't be used; `undefined` if it can. One line
 * that quotes no value.
 */
export function bindingMistake(path: string): string | undefined {
  try {
    toBinding(valuesAt(path));
    return undefined;
  } catch (error) {
    if (error instanceof Failure) return `${path}: ${error.message}`;
    return `${path} can't be read (${(error as NodeJS.ErrnoException).code})`;
  }
}

function valuesAt(path: string): Record<string, unknown> {
  if (statSync(path).isDirectory()) return ofFolder(path);
  const values = parseObject(read(path));
  if (!values) throw failed('the service binding is not valid JSON');
  return values;
}

/** One file per key, or one JSON file. */
function ofFolder(folder: string): Record<string, unknown> {
  const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
  if (names.length > BINDING_FILES) throw failed(`the service binding has more than ${BINDING_FILES} files`);
  const values = Object.fromEntries(names.map((name) => [name, read(join(folder, name)).replace(/\r?\n$/, '')]));
  if ('clientid' in values || 'credentials' in values) return values;
  const inner = Object.values(values).map(object);
  return inner.find((one) => one && ('clientid' in one || 'credentials' in one)) ?? values;
}

function read(file: string): string {
  const text = readText(file, (what) => {
    throw failed(what);
  });
  return text ?? '';
}

function failed(text: string): Failure {
  return new Failure('token', text, { retry: false });
}
