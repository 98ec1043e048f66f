import { writeFileSync } from 'node:fs';
import { type Daemon, startDaemon } from '../live/daemon.ts';

/** Starts a program that logs to its output, as a daemon that logs to a file; whether it is ready is another question. */
export async function startProgram(
  command: string[],
  logFile: string,
  env: Record<string, string> = {},
): Promise<Daemon> {
  writeFileSync(logFile, 'started\n', { flag: 'a' });
  const settings = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  const words = settings.length > 0 ? ['env', ...settings, ...command] : command;
  return await startDaemon(['sh', '-c', 'exec "$@" >>"$0" 2>&1', logFile, ...words], logFile, /started/);
}
