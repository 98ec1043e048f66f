/** Writes that one process alone may go on until this Date.now(), in place of `version`; the new version, or undefined where another came first. */
export type WriteLease = (until: number, version: string | undefined) => Promise<string | undefined>;

/** The right of one process to ask for a grant, renewed while it does: the requests behind it may take longer than any fixed time. */
export class Lease {
  readonly #ms: number;
  readonly #write: WriteLease;
  readonly #timer: NodeJS.Timeout;
  #version: string;
  #writing: Promise<void> | undefined;

  /** Undefined where another process came first, or where the store was so slow that the time is as good as over. */
  static async take(ms: number, version: string | undefined, write: WriteLease): Promise<Lease | undefined> {
    const until = Date.now() + ms;
    const own = await write(until, version);
    return own !== undefined && Date.now() < until - ms / 2 ? new Lease(ms, own, write) : undefined;
  }

  private constructor(ms: number, version: string, write: WriteLease) {
    this.#ms = ms;
    this.#version = version;
    this.#write = write;
    this.#timer = setInterval(() => {
      this.#writing ??= this.#renew().finally(() => {
        this.#writing = undefined;
      });
    }, ms / 4);
  }

  /** Renews it no more. @returns the version that was written last */
  async end(): Promise<string> {
    clearInterval(this.#timer);
    await this.#writing;
    return this.#version;
  }

  async #renew(): Promise<void> {
    try {
      const version = await this.#write(Date.now() + this.#ms, this.#version);
      if (version === undefined) clearInterval(this.#timer);
      else this.#version = version;
    } catch {
      // The store can't be written now: there are three attempts before the lease ends.
    }
  }
}
