import type { ChildProcess } from 'node:child_process';
import { StartFailure } from './start-failure.ts';

/** Milliseconds before a dead child is started again: at once would burn a core, more than 5 s would be a long outage. Doubles. */
const LEAST_PAUSE = 100;
const LONGEST_PAUSE = 5000;

/** Milliseconds that a child must have lived for its death to be an accident and not one more of a row. */
const HEALTHY_LIFE = 10_000;

/** Milliseconds between SIGTERM and SIGKILL. */
const GRACE = 5000;

export interface SupervisedOptions {
  /** For log lines. */
  name: string;
  start: () => ChildProcess;
  /** Resolves when the first child can do its work. */
  isReady: (child: ChildProcess) => Promise<void>;
  log: (line: string) => void;
}

/** A child process that is started again when it ends, until it is stopped. */
export class Supervised {
  /** Rejects with StartFailure when the first child ends before it is ready; it is not started again then. */
  readonly ready: Promise<void>;
  readonly #options: SupervisedOptions;
  #child: ChildProcess;
  #ended!: Promise<void>;
  #isUp = false;
  #stopping = false;
  #pause = LEAST_PAUSE;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SupervisedOptions) {
    this.#options = options;
    this.#child = this.#start();
    this.ready = Promise.race([options.isReady(this.#child), this.#endsEarly()]).then(() => {
      this.#isUp = true;
      // It may have ended in the very moment between.
      if (!isAlive(this.#child)) this.#startLater();
    });
  }

  /** Of the child that runs, or ran last. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** SIGTERM, after 5 s SIGKILL; resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    if (!isAlive(this.#child)) return;
    this.#child.kill('SIGTERM');
    const grace = setTimeout(() => this.#child.kill('SIGKILL'), GRACE);
    await this.#ended;
    clearTimeout(grace);
  }

  /** At once, without waiting. */
  kill(): void {
    this.#stopping = true;
    clearTimeout(this.#timer);
    this.#child.kill('SIGKILL');
  }

  #start(): ChildProcess {
    const child = this.#options.start();
    const started = Date.now();
    this.#ended = new Promise((resolve) => {
      const onEnd = (how: string) => {
        resolve();
        if (Date.now() - started >= HEALTHY_LIFE) this.#pause = LEAST_PAUSE;
        if (this.#isUp && !this.#stopping) this.#startLater(how);
      };
      child.once('exit', (code, signal) => onEnd(signal ?? `code ${code}`));
      child.once('error', (error) => {
        // Where it could not be started at all there is no 'exit'.
        if (child.pid === undefined) onEnd(error.message);
      });
    });
    return child;
  }

  #startLater(how = 'an early end'): void {
    const { name, log } = this.#options;
    log(`${name} ended (${how}); it is started again in ${this.#pause} ms`);
    this.#timer = setTimeout(() => {
      this.#child = this.#start();
      log(`${name} is started again (process ${this.pid})`);
    }, this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  async #endsEarly(): Promise<never> {
    await this.#ended;
    throw new StartFailure(`${this.#options.name} ended before it was ready; its last lines say why`);
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}
