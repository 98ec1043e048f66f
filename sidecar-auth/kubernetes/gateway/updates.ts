import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds in which several changes become one: a list of resources, or a Secret made together with its Destination. */
const TOGETHER_MS = 50;
/** Milliseconds before what failed is done again. */
const AGAIN_MS = 5_000;

/** Work that is due again after each change, one after the other, however many changes come. */
export class Updates {
  readonly #work: () => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #isDue = false;
  #isRunning = false;
  #stopped = false;

  constructor(work: () => Promise<void>, onError: (error: unknown) => void) {
    this.#work = work;
    this.#onError = onError;
  }

  /** Something has changed. */
  readonly due = (): void => {
    this.#isDue = true;
    if (!this.#isRunning) void this.#run();
  };

  stop(): void {
    this.#stopped = true;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isDue && !this.#stopped) {
      await sleep(TOGETHER_MS);
      this.#isDue = false;
      try {
        await this.#work();
      } catch (error) {
        this.#onError(error);
        await sleep(AGAIN_MS, undefined, { ref: false });
        this.#isDue = true;
      }
    }
    this.#isRunning = false;
  }
}
