import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Long enough for a busy machine; a dialogue that works takes milliseconds. */
const ANSWER_TIMEOUT = 10_000;

/** A client that types what it is told, as in the documentation's telnet sessions. One octet is one character (latin1). */
export class Wire {
  #socket: Socket;
  #unread = '';

  private constructor(socket: Socket) {
    this.#socket = this.#read(socket);
  }

  /** Connects to a port of `host`; with `ca` (PEM) in TLS, where the certificate must be valid for `name`. */
  static async open(port: number, tls?: { ca: string; name: string }, host = '127.0.0.1'): Promise<Wire> {
    const socket = tls ? connectTls({ host, port, ca: tls.ca, servername: tls.name }) : connect(port, host);
    await once(socket, tls ? 'secureConnect' : 'connect');
    return new Wire(socket);
  }

  /** Begins TLS on the connection, once the server has agreed to STARTTLS or STLS. */
  async startTls({ ca, name }: { ca: string; name: string }): Promise<void> {
    this.#socket.removeAllListeners('data');
    const secure = connectTls({ socket: this.#socket, ca, servername: name });
    await once(secure, 'secureConnect');
    this.#socket = this.#read(secure);
  }

  #read(socket: Socket): Socket {
    socket.on('error', () => {}); // expect and ended tell it, as a close
    return socket.setEncoding('latin1').on('data', (text: string) => {
      this.#unread += text;
    });
  }

  send(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  /** Sends a line and returns what is answered up to and with `answer`. */
  ask(line: string, answer: RegExp): Promise<string> {
    this.send(`${line}\r\n`);
    return this.expect(answer);
  }

  /** The text up to and with the first match, which is then read. Throws what was read instead, after a close or 10 s. */
  async expect(pattern: RegExp): Promise<string> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
    for (;;) {
      const match = pattern.exec(this.#unread);
      if (match) {
        const end = match.index + match[0].length;
        const text = this.#unread.slice(0, end);
        this.#unread = this.#unread.slice(end);
        return text;
      }
      if (this.#socket.readableEnded || this.#socket.destroyed) throw this.#unexpected(pattern, 'the connection ended');
      await this.#news(signal).catch(() => {
        throw this.#unexpected(pattern, 'nothing more came');
      });
    }
  }

  /** Everything up to the server's end of stream. */
  async rest(): Promise<string> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
    while (!this.#socket.readableEnded && !this.#socket.destroyed) await this.#news(signal);
    return this.#unread;
  }

  close(): void {
    this.#socket.destroy();
  }

  #news(signal: AbortSignal): Promise<unknown> {
    const stop = new AbortController();
    const both = { signal: AbortSignal.any([signal, stop.signal]) };
    const events = ['data', 'end', 'close'].map((name) => once(this.#socket, name, both));
    return Promise.race(events).finally(() => {
      stop.abort();
      for (const event of events) event.catch(() => {});
    });
  }

  #unexpected(pattern: RegExp, why: string): Error {
    return new Error(`${why}; expected ${pattern}, got ${JSON.stringify(this.#unread.slice(-500))}`);
  }
}
