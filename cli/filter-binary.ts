import { join } from 'node:path';
import { IN_CLONE, ROOT } from './paths.ts';
import { FILTER, wasmBuild } from './wasm-build.ts';

/** The filter's absolute path: built when needed in a clone, ready-made in a package. @throws StartFailure */
export async function filterBinary(progress?: (line: string) => void): Promise<string> {
  return IN_CLONE ? wasmBuild(FILTER, progress) : join(ROOT, 'dist', 'filter.wasm');
}
