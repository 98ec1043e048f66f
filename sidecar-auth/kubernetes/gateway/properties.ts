/** A plain destination as it will be written: its properties, and the files that they name. */
export interface PlainDestination {
  properties: Record<string, string>;
  /** Content by property. */
  files: Record<string, string>;
}

/** Properties whose value is a file's path, wherever a destination may have one (docs/configuration.md). */
const NAMES_A_FILE = /(File|\.KeyStoreLocation)$/;

/**
 * The properties in the keys of a Secret (and ConfigMap). Where a property of a destination file is a path, here it is the name of another key of the same Secret:
 * as a path it would let who may write a Secret read the files of the gateway's pod, its own token among them.
 * @throws Error, one line without a secret, for people
 */
export function plainDestination(name: string, data: Record<string, Buffer>): PlainDestination {
  const named = Object.keys(data).filter((key) => NAMES_A_FILE.test(key));
  const files = named.map((property): [string, string] => [property, fileOf(property, data)]);
  const used = new Set(named.map((property) => keyOfFile(property, data)));
  const own = Object.keys(data).filter((key) => !used.has(key) && !named.includes(key));
  const properties = own.map((key): [string, string] => [key, text(key, data[key])]);
  return { properties: { ...Object.fromEntries(properties), Name: name }, files: Object.fromEntries(files) };
}

function keyOfFile(property: string, data: Record<string, Buffer>): string {
  return text(property, data[property]).replace(/^\.\//, '');
}

function fileOf(property: string, data: Record<string, Buffer>): string {
  const key = keyOfFile(property, data);
  if (Object.hasOwn(data, key) && !NAMES_A_FILE.test(key)) return text(key, data[key]);
  throw new Error(
    `${property} must be the name of another key of the same Secret or ConfigMap, in which the file's content is`,
  );
}

/** What ends with a newline was written by an editor or by `--from-file`. */
function text(key: string, value: Buffer | undefined): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(value).replace(/\r?\n$/, '');
  } catch {
    throw new Error(`${key} must be UTF-8 text`);
  }
}
