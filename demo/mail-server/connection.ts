import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { IDLE, LINGER } from './limits.ts';

/** The peer ended or broke the connection. */
export class Closed extends Error {}

export interface Line {
  /** One character an octet (latin1), without the line's end. Empty if the line was too long. */
  text: string;
  tooLong: boolean;
}

const NOTHING: Buffer = Buffer.alloc(0);

/** One connection as lines and octets. Reading is sequential, so that pipelined commands simply wait their turn. */
export class Connection {
  readonly tls: boolean;
  readonly peer: string;
  /** How the last line ended: a person with nc sends LF alone. */
  ending: '\r\n' | '\n' = '\r\n';
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer: Buffer = NOTHING;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.tls = socket instanceof TLSSocket;
    this.peer = socket.remoteAddress ?? 'unknown';
    this.#chunks = socket.iterator({ destroyOnReturn: false });
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    socket.setTimeout(IDLE, () => socket.destroy());
  }

  /**
   * The next line of at most `limit` octets; a longer one is read to its end but not kept. Ends at LF with or without CR,
   * or, with `end` CRLF, at CRLF only.
   * @throws {Closed} at the end of the stream; a last line without an end is no line.
   */
  async line(limit: number, end: '\r\n' | '\n' = '\n'): Promise<Line> {
    let tooLong = false;
    for (let from = 0; ; ) {
      const at = this.#buffer.indexOf(end, from);
      if (at >= 0) return this.#takeLine(at, end, tooLong || at > limit);
      if (this.#buffer.length > limit) {
        tooLong = true;
        this.#buffer = this.#buffer.subarray(-1); // it may be the CR of the end
      }
      from = Math.max(0, this.#buffer.length - 1);
      await this.#more();
    }
  }

  #takeLine(at: number, end: string, tooLong: boolean): Line {
    const line = this.#take(at + end.length).toString('latin1');
    this.ending = line.endsWith('\r\n') ? '\r\n' : '\n';
    return { text: tooLong ? '' : line.slice(0, -this.ending.length), tooLong };
  }

  /** Exactly `count` octets. @throws {Closed} where the stream ends before. */
  async octets(count: number): Promise<string> {
    const parts: Buffer[] = [];
    let missing = count;
    while (missing > 0) {
      if (this.#buffer.length === 0) await this.#more();
      const part = this.#take(Math.min(missing, this.#buffer.length));
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts).toString('latin1');
  }

  /** Sends latin1 text and waits while the peer does not read. @throws {Closed} */
  async send(text: string): Promise<void> {
    if (!this.#socket.writable) throw new Closed();
    if (this.#socket.write(text, 'latin1')) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        this.#socket.off('drain', go).off('close', go);
        resolve();
      };
      this.#socket.on('drain', go).on('close', go);
    });
  }

  /** Says no more; the peer may still send for a moment, for a close with unread bytes would be a reset. */
  async end(): Promise<void> {
    await this.#chunks.return?.().catch(() => {});
    this.#socket.end();
    this.#socket.resume();
    const timer = setTimeout(() => this.#socket.destroy(), LINGER);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #take(count: number): Buffer {
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  async #more(): Promise<void> {
    const next = await this.#chunks.next().catch((cause: unknown) => {
      throw new Closed('connection lost', { cause });
    });
    if (next.done) throw new Closed();
    this.#buffer = this.#buffer.length === 0 ? next.value : Buffer.concat([this.#buffer, next.value]);
  }
}
