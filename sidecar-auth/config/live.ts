import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import * as counted from '../observe/counted.ts';
import { type Config, readConfig } from './config.ts';
import { type Mistake, mistakeLine } from './mistakes.ts';
import { takeOver } from './take-over.ts';
import { Watch } from './watch.ts';

const GONE =
  'a listener whose destination is in no file (nor in the Destination service) answers unknown_destination; ' +
  'a new one is not opened before';

/** The configuration that is in force, following its files. */
export class LiveConfig {
  readonly #log: Logger;
  readonly #onChange: (config: Config) => void;
  readonly #watch: Watch;
  #current: Config;
  #reported = '';

  constructor(config: Config, log: Logger, onChange: (config: Config) => void) {
    this.#current = config;
    this.#log = log;
    this.#onChange = onChange;
    this.#watch = new Watch(config, () => this.#reload());
  }

  get current(): Config {
    return this.#current;
  }

  /** Looks at the files now, not only at the next event. */
  check(): void {
    this.#watch.check();
  }

  close(): void {
    this.#watch.close();
  }

  #reload(): Config {
    const last = this.#current;
    const { config, mistakes, unserved } = takeOver(last, readConfig(last.file, last.directory));
    this.#current = config;
    this.#report(mistakes, unserved);
    for (const key of ['tls', 'observe'] as const) {
      if (isDeepStrictEqual(config[key], last[key])) continue;
      this.#log.warn({ file: config.file, key }, `a change of ${key} takes effect after a restart`);
    }
    this.#onChange(config);
    return config;
  }

  /** Mistakes that were there before are not logged again: folders see many events. */
  #report(mistakes: Mistake[], unserved: number): void {
    counted.mistakes.set({}, mistakes.length);
    const lines = mistakes.map(mistakeLine).join('\n');
    if (lines === this.#reported) return;
    this.#reported = lines;
    for (const { file, key, text } of mistakes) this.#log.error({ file, key }, text);
    const { file } = this.#current;
    if (unserved > 0) this.#log.warn({ file }, GONE);
    if (mistakes.length > unserved) this.#log.warn({ file }, 'what has mistakes stays as it was');
    if (mistakes.length === 0) this.#log.info({ file }, 'the mistakes are gone');
  }
}
