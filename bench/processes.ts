import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * Microseconds of CPU, user and system, that the processes have used so far: schedstat(5) of every thread, in nanoseconds there. Threads that
 * have ended are not in it; none of the arms that are counted by it end one.
 */
export function cpuMicroseconds(pids: number[]): number {
  return (
    pids.reduce((sum, pid) => sum + threads(pid).reduce((all, text) => all + Number(text.split(' ')[0]), 0), 0) / 1e3
  );
}

/** The same from proc_pid_stat(5), threads that have ended included, in steps of 10 ms: for a server with a thread per connection. */
export function coarseCpuMicroseconds(pids: number[]): number {
  return pids.reduce((sum, pid) => {
    const [, , , , , , , , , , , user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return sum + (Number(user) + Number(system)) * 10_000;
  }, 0);
}

function threads(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).map((task) => readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8'));
}

/** KiB of memory that are the processes' own: proportional set size, of which pages shared with others count in part. */
export function memoryKiB(pids: number[]): number {
  return pids.reduce((sum, pid) => {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return sum + Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]);
  }, 0);
}

/** The process and all that descend from it. */
export function family(pid: number): number[] {
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => [Number(name), parentOf(name)]),
  );
  const all = [pid];
  for (const member of all) for (const [child, parent] of parents) if (parent === member) all.push(child);
  return all;
}

function parentOf(pid: string): number {
  try {
    return Number(
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) \S /s, '')
        .split(' ')[0],
    );
  } catch {
    return 0;
  }
}

/** A process that tells by lines of JSON on its standard output, and that lives as long as its standard input is open. */
export class Talker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  #errors = '';

  constructor(command: string, args: string[]) {
    this.#name = args.slice(0, 1).join(' ');
    this.#child = spawn(command, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** The next line. @throws Error with what it wrote to standard error, where it ended instead */
  async hear<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value);
    throw new Error(`${this.#name} ended: ${this.#errors.trim()}`);
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await gone;
  }
}

/** CPU of all children of this process that have ended, in steps of 10 ms: what a load that has just ended used. */
export function endedCpuMicroseconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10_000;
}
