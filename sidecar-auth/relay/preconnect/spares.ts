import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { failureCode } from '../../observe/counted.ts';
import type { RelayTarget } from '../../relay-target.ts';
import type { Dialled } from '../dial.ts';
import { SPARE_CHECK_MS, SPARE_MS, SPARE_PAUSE_MS, SPARES_LIMIT } from '../limits.ts';

export interface SparesOptions {
  open: (target: RelayTarget, signal: AbortSignal) => Promise<Dialled>;
  /** Undefined for the id of a route that is gone. */
  target: (routeId: string) => RelayTarget | undefined;
  log: Pick<Logger, 'debug'>;
}

/** What there is of a route. */
interface Slot {
  state: 'opening' | 'ready' | 'failed';
  /** Date.now() from which it is forgotten. */
  until: number;
  /** What a session gets; undefined where nothing came of it. */
  take(): Promise<Dialled | undefined> | Dialled | undefined;
  /** Closes what is open of it. */
  close(): void;
}

/**
 * Connections that stand at the login, for the next session of their route: at most one a route, opened when a session begins. So there is
 * none before the first, and none for long after the last. None has ever carried a byte of an app.
 */
export class Spares {
  readonly #options: SparesOptions;
  readonly #slots = new Map<string, Slot>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SparesOptions) {
    this.#options = options;
  }

  /**
   * The caller's from now on, whoever asks next. One that is still being opened is waited for, as it began before a new one could; `signal`
   * ends that. What the server closes in this very moment can't be known: the session then ends as on any lost connection.
   */
  async take(routeId: string, signal: AbortSignal): Promise<Dialled | undefined> {
    const slot = this.#slots.get(routeId);
    if (!slot || slot.state === 'failed') return undefined;
    this.#slots.delete(routeId);
    signal.addEventListener('abort', slot.close, { once: true });
    try {
      return await slot.take();
    } finally {
      signal.removeEventListener('abort', slot.close);
    }
  }

  /** A session has a connection to the server: opens the one for the next session, where there is none and the target wants it. */
  renew(routeId: string, target: RelayTarget): void {
    if (!target.preconnect || this.#slots.has(routeId) || this.#slots.size >= SPARES_LIMIT) return;
    const stop = new AbortController();
    let wanted = true;
    const close = () => {
      wanted = false;
      stop.abort();
    };
    const opened = this.#open(target, stop).then(
      (dialled) => {
        if (!wanted) dialled.socket.destroy();
        else if (this.#slots.get(routeId) === slot) this.#keep(routeId, dialled);
        return wanted ? dialled : undefined;
      },
      (error) => {
        const { destination } = target;
        this.#options.log.debug({ destination, failure: failureCode(error) }, 'relay: no connection is kept ready');
        if (wanted) this.#pause(routeId, slot);
        return undefined;
      },
    );
    const slot: Slot = { state: 'opening', until: Number.POSITIVE_INFINITY, take: () => opened, close };
    this.#set(routeId, slot);
  }

  close(): void {
    for (const [routeId, slot] of this.#slots) this.#drop(routeId, slot);
    this.#rest();
  }

  async #open(target: RelayTarget, stop: AbortController): Promise<Dialled> {
    const timer = setTimeout(() => stop.abort(), target.connectTimeoutMs);
    try {
      return await this.#options.open(target, stop.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(routeId: string, dialled: Dialled): void {
    const { socket } = dialled;
    const until = Date.now() + SPARE_MS;
    const release = watch(socket, () => this.#drop(routeId, slot));
    const close = () => {
      release();
      socket.destroy();
    };
    const take = () => {
      release();
      if (Date.now() < until && !socket.destroyed) return dialled;
      socket.destroy(); // the process was stopped for a while
      return undefined;
    };
    const slot: Slot = { state: 'ready', until, take, close };
    this.#set(routeId, slot);
  }

  /** Nobody asked for this connection, so its failure is nobody's: sessions dial themselves, and tell what they meet. */
  #pause(routeId: string, failed: Slot): void {
    const current = this.#slots.get(routeId);
    if (current && current !== failed) return;
    this.#set(routeId, {
      state: 'failed',
      until: Date.now() + SPARE_PAUSE_MS,
      take: () => undefined,
      close: () => {},
    });
  }

  #set(routeId: string, slot: Slot): void {
    this.#slots.set(routeId, slot);
    this.#timer ??= setInterval(() => this.#tidy(), SPARE_CHECK_MS).unref();
  }

  #drop(routeId: string, slot: Slot): void {
    if (this.#slots.get(routeId) === slot) this.#slots.delete(routeId);
    slot.close();
  }

  #tidy(): void {
    for (const [routeId, slot] of this.#slots) {
      if (Date.now() >= slot.until || !this.#options.target(routeId)) this.#drop(routeId, slot);
    }
    if (this.#slots.size === 0) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * Calls `lost` when the server sends anything, ends its side or closes: it is the client's turn, so nothing good can come (a timeout's or
 * shutdown's last words, or an answer to what nobody asked). Returns what ends that; the socket is paused then.
 */
function watch(socket: Socket, lost: () => void): () => void {
  socket.on('data', lost).once('end', lost).once('close', lost).resume();
  return () => void socket.pause().off('data', lost).off('end', lost).off('close', lost);
}
