import { setTimeout as sleep } from 'node:timers/promises';
import { Wire } from '../live/wire.ts';

/** Milliseconds between two looks. */
const PAUSE = 50;

/** An application of another destination: a session that is open, and new ones all the time. */
export class Victim {
  readonly #port: number;
  readonly #session: Wire;
  readonly #errors: string[] = [];
  readonly #watching: Promise<void>;
  #stopped = false;
  /** New sessions so far. */
  sessions = 0;
  /** Milliseconds of the slowest look: the open session, then a new one. */
  slowest = 0;

  private constructor(port: number, session: Wire) {
    this.#port = port;
    this.#session = session;
    this.#watching = this.#watch();
  }

  static async start(port: number): Promise<Victim> {
    return new Victim(port, await login(port));
  }

  /** Resolves after so many more new sessions. */
  async seen(more: number): Promise<void> {
    const wanted = this.sessions + more;
    while (this.sessions < wanted && this.#errors.length === 0) await sleep(PAUSE);
  }

  /** Everything that has gone wrong. */
  async stop(): Promise<string[]> {
    this.#stopped = true;
    await this.#watching;
    this.#session.close();
    return this.#errors;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped && this.#errors.length === 0) {
      const begun = performance.now();
      try {
        await mail(this.#session);
        await quit(await login(this.#port));
        this.sessions++;
      } catch (error) {
        this.#errors.push(String(error));
      }
      this.slowest = Math.max(this.slowest, performance.now() - begun);
      await sleep(PAUSE);
    }
  }
}

/** A silent session that is logged in: LoadServers take no MAIL before. */
async function login(port: number): Promise<Wire> {
  const wire = await Wire.open(port);
  await wire.expect(/^220 .*\r\n/);
  await mail(wire);
  return wire;
}

async function mail(wire: Wire): Promise<void> {
  await wire.ask('MAIL FROM:<app@load.example>', /^250 2\.1\.0 sender\r\n/);
}

async function quit(wire: Wire): Promise<void> {
  await wire.ask('QUIT', /^221 .*\r\n/);
  wire.close();
}
