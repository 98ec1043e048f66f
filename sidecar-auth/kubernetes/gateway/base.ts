import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';

/** What holds for all destinations: postern.yaml without its listeners and its folder of destinations. */
export type Base = Record<string, unknown>;

/**
 * Reads it; without a file there is nothing in it. Paths in it must be absolute, for it is copied to another folder. Whether its values are right is seen when
 * it is tried.
 * @throws Error, one line that quotes nothing of the file
 */
export function readBase(file: string | undefined): Base {
  if (file === undefined) return {};
  // Texts stay as they stand there, as in config/document.ts, where it will be read again.
  const document = parseDocument(readFileSync(file, 'utf8'), {
    schema: 'failsafe',
    customTags: ['null'],
    prettyErrors: false,
    logLevel: 'error',
  });
  if (document.errors.length > 0) throw new Error(`${file} is not valid YAML or JSON`);
  const values: unknown = document.toJS() ?? {};
  if (typeof values !== 'object' || values === null || Array.isArray(values))
    throw new Error(`${file} must be a mapping`);
  const base = values as Base;
  if ('listeners' in base) throw new Error(`${file}: listeners come from the Destination resources`);
  if (base.destinations !== undefined && (typeof base.destinations !== 'object' || base.destinations === null))
    throw new Error(`${file}: destinations must be a mapping`);
  if (Object.hasOwn(base.destinations ?? {}, 'directory'))
    throw new Error(`${file}: plain destinations come from the Destination resources, so there is no directory`);
  return base;
}
