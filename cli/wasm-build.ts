import { mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ROOT } from './paths.ts';
import { run } from './run.ts';
import { StartFailure } from './start-failure.ts';

/** A target of asconfig.json. Paths are relative to the repository. */
export interface WasmTarget {
  target: string;
  entry: string;
  output: string;
  /** Files and folders (all .ts files in them) that the output is made of. */
  sources: string[];
}

export const FILTER: WasmTarget = {
  target: 'filter',
  entry: 'filter/index.ts',
  output: 'build/filter.wasm',
  sources: ['filter', 'asconfig.json', 'package-lock.json'],
};

/** The machines alone, without any import, for the tests. */
export const PROTOCOL: WasmTarget = {
  target: 'protocol',
  entry: 'test/runners/protocol-exports.as.ts',
  output: 'build/protocol.wasm',
  sources: [
    'filter/protocol',
    'filter/contract.ts',
    'filter/filter-state.ts',
    'test/runners/protocol-exports.as.ts',
    'asconfig.json',
    'package-lock.json',
  ],
};

/**
 * The output's absolute path; compiled first where a source is newer.
 * @throws StartFailure with the compiler's words
 */
export async function wasmBuild(
  wasm: WasmTarget,
  progress: (line: string) => void = () => {},
  root = ROOT,
): Promise<string> {
  const output = join(root, wasm.output);
  const newest = Math.max(...wasm.sources.map((source) => newestChange(join(root, source))));
  if (newest >= changeTime(output)) {
    progress(`compiling ${wasm.output} ...`);
    await compile(wasm, output, root);
  }
  return output;
}

/** Into a file of its own, then renamed: an Envoy or a second build that looks meanwhile finds a whole file. */
async function compile(wasm: WasmTarget, output: string, root: string): Promise<void> {
  const draftName = join(dirname(wasm.output), `.${process.pid}.${Date.now()}.${basename(output)}`);
  const draft = join(root, draftName);
  const started = new Date();
  mkdirSync(dirname(output), { recursive: true });
  const asc = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js');
  // The compiler finds libraries only by paths relative to where it runs.
  const where = ['--config', 'asconfig.json', '--target', wasm.target, '--outFile', draftName];
  try {
    await run(process.execPath, [asc, wasm.entry, ...where], { cwd: root });
    // A source that changes while the compiler runs must count as newer.
    utimesSync(draft, started, started);
    renameSync(draft, output);
  } catch (cause) {
    throw new StartFailure(`${wasm.output} could not be compiled: ${(cause as Error).message}`, { cause });
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Milliseconds; 0 when there is no such file. */
function changeTime(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newestChange(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return stat?.mtimeMs ?? 0;
  // The folder's own time is that of the last file added, renamed or deleted in it.
  const inside = readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.name.endsWith('.ts'))
    .map((entry) => newestChange(join(path, entry.name)));
  return Math.max(stat.mtimeMs, ...inside);
}
