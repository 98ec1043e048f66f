import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(import.meta.url);

/** Whether this is a clone (TypeScript run as it stands) or an installed package (JavaScript in dist/). */
export const IN_CLONE = HERE.endsWith('.ts');

/** The repository's or the package's root. */
export const ROOT = join(dirname(HERE), IN_CLONE ? '..' : '../..');

/** sidecar-auth's program, of the same kind as this file. */
export const SIDECAR_AUTH = join(dirname(HERE), '..', 'sidecar-auth', IN_CLONE ? 'main.ts' : 'main.js');

/** Where downloads are kept: in a clone inside it, else in the user's cache directory (XDG Base Directory Specification). */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (IN_CLONE) return join(ROOT, '.cache');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'postern');
}
