import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Main } from './config.ts';
import { only } from './take-over.ts';

/** Mode 0600 in a folder of mode 0700: the passwords of `app` are in it. */
const NAME = 'last-good.json';

/**
 * What FILE says in its last version without mistakes, in the run directory: sidecar-auth may start again beside a running Envoy while
 * FILE has a mistake. As it was understood, not as a text: a password file that it named may have gone since.
 */
export class LastGood {
  readonly #file: string;
  readonly #log: Pick<Logger, 'error'>;
  #written = '';

  constructor(runDir: string, log: Pick<Logger, 'error'>) {
    this.#file = join(runDir, NAME);
    this.#log = log;
  }

  /** By rename, so that a crash leaves no half of it. What can't be written is logged: mail flows on. */
  keep(main: Main): void {
    const text = JSON.stringify(only(main));
    if (text === this.#written) return;
    try {
      writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
      this.#written = text;
    } catch (error) {
      this.#log.error({ error: String(error) }, 'the last good version of FILE could not be kept');
    }
  }

  read(): Main | undefined {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Main;
    } catch {
      return undefined;
    }
  }
}
