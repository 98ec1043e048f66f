import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PINNED_NODE } from './install.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = fileURLToPath(new URL('../../node_modules/.bin', import.meta.url));

/** Runs a program of this repository with the pinned Node in this process's place: arguments, signals and exit code are passed on. */
export function runPinned(program) {
  const env = { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH}` };
  const args = [fileURLToPath(new URL(`../../${program}`, import.meta.url)), ...process.argv.slice(2)];
  const child = spawn(PINNED_NODE, args, { cwd: ROOT, env, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`postern: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
