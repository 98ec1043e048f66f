import { type ChildProcess, spawn } from 'node:child_process';
import { atExit } from './at-exit.ts';

/** Octets of a failed command's output that are kept for the error text: its last lines say why. */
const OUTPUT_LIMIT = 4096;

/**
 * Runs a command to its end, or to the end of this process.
 * @throws Error with the end of its output when it fails or can't be started
 */
export function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options });
    const callOff = atExit(() => killGroup(child));
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk).slice(-OUTPUT_LIMIT);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      callOff();
      if (code === 0) resolve(output);
      else reject(new Error(`${[command, ...args].join(' ')} ended with ${signal ?? code}:\n${output.trim()}`));
    });
  });
}

/** The compiler and some pips (pyenv's) start themselves once more; their process group is what must end. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}
