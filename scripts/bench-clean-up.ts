import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { atExit } from '../cli/at-exit.ts';

/** What a signal ends before this process goes; `isOver` afterwards. */
export interface CleanUp {
  stop?: () => Promise<void>;
  isOver: boolean;
}

/** An arm that hangs does not keep Ctrl-C waiting: its standard input closes with this process. */
const PATIENCE = 10_000;

/**
 * Makes sure that the benchmark leaves no process and no file behind: it has a temporary folder of its own, which is the parts' too, and
 * stops the arms on Ctrl-C.
 */
export function leaveNothing(say: (line: string) => void): CleanUp {
  const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  // nginx's and Dovecot's processes, which run as other users, have files in it.
  chmodSync(folder, 0o711);
  process.env.TMPDIR = folder;
  atExit(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const cleanUp: CleanUp = { isOver: false };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, async () => {
      if (cleanUp.isOver) return;
      cleanUp.isOver = true;
      say('stopping ...');
      const stopped = cleanUp.stop?.().catch(() => {});
      await Promise.race([stopped, sleep(PATIENCE)]);
      process.exit(128 + constants.signals[signal]);
    });
  }
  return cleanUp;
}
