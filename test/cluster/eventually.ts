import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 100;
/** What takes a second here takes many on a busy machine. */
const PATIENCE_MS = 60_000;

/** What `look` brings once it brings something (and no error). @throws Error with the last error, and the end of the log */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined>,
  { log, ms = PATIENCE_MS }: { log?: string; ms?: number } = {},
): Promise<T> {
  const deadline = Date.now() + ms;
  let last: unknown = 'nothing';
  do {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      last = error;
    }
    await sleep(LOOK_MS);
  } while (Date.now() < deadline);
  const end = log === undefined ? '' : `\n${readFileSync(log, 'utf8').split('\n').slice(-15).join('\n')}`;
  throw new Error(`it did not come about that ${what}: ${last}${end}`);
}
