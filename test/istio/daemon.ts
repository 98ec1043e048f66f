import { openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Daemon, startDaemon } from '../live/daemon.ts';

/** Milliseconds until something that takes seconds is given up, on a busy machine. */
const PATIENCE = 60_000;
const LOOK = 200;

/** Starts a program whose output is its log, and does not wait for anything that it may say. */
export async function daemon(command: string[], logFile: string): Promise<Daemon> {
  openSync(logFile, 'a');
  return startDaemon(['sh', '-c', 'echo started >>"$0"; exec "$@" >>"$0" 2>&1', logFile, ...command], logFile, /./);
}

/** What `look` brings once it brings something. @throws Error with the last error, and the end of the log, after a minute */
export async function eventually<T>(what: string, look: () => Promise<T | undefined>, logFile?: string): Promise<T> {
  const deadline = Date.now() + PATIENCE;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      last = error;
    }
    await sleep(LOOK);
  }
  const log = logFile === undefined ? '' : `\n${readFileSync(logFile, 'utf8').split('\n').slice(-15).join('\n')}`;
  throw new Error(`${what} did not come about: ${last ?? 'nothing'}${log}`);
}
