import { connect, type Socket } from 'node:net';
import type { ClientAnswer, ClientRequest } from './messages.ts';

const PROGRESS = 10_000;
/** Milliseconds in which nothing happens in a session: far more than a busy machine needs. */
const SILENCE = 30_000;
/** Errors that are told in words. */
const ERRORS = 5;

/** A silent application: it never says EHLO and never logs in. */
const SAYS = ['MAIL FROM:<app@load.example>\r\n', 'QUIT\r\n'];
const HEARS = ['220 load.example ESMTP\r\n', '250 2.1.0 sender\r\n', '221 2.0.0 bye\r\n'];

class Session {
  /** Resolves after the greeting and MAIL's answer; `''` is success, else it says what went wrong. */
  readonly answered: Promise<string>;
  /** Resolves when the server's end has come. */
  readonly ended: Promise<string>;
  readonly #socket: Socket;
  #heard = '';
  #step = 0;
  #onAnswered: (error: string) => void = () => {};
  #onEnded: (error: string) => void = () => {};

  constructor(port: number, quitAtOnce: boolean) {
    this.answered = new Promise((resolve) => {
      this.#onAnswered = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#onEnded = resolve;
    });
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.setTimeout(SILENCE, () => this.#finish('silence'));
    this.#socket.on('error', (error) => this.#finish(error.message));
    this.#socket.on('close', () => this.#finish(this.#step === HEARS.length ? '' : 'closed'));
    this.#socket.on('data', (text: string) => this.#read(text, quitAtOnce));
  }

  quit(): void {
    this.#socket.write(SAYS[1] as string);
  }

  #read(text: string, quitAtOnce: boolean): void {
    this.#heard += text;
    const expected = HEARS[this.#step] ?? '';
    if (this.#heard !== expected) {
      if (!expected.startsWith(this.#heard)) this.#finish('wrong answer');
      return;
    }
    this.#heard = '';
    this.#step++;
    if (this.#step === 1) this.#socket.write(SAYS[0] as string);
    if (this.#step !== 2) return;
    this.#onAnswered('');
    if (quitAtOnce) this.quit();
  }

  #finish(why: string): void {
    const error = why === '' ? '' : `${why} in step ${this.#step}, heard ${JSON.stringify(this.#heard)}`;
    this.#socket.destroy();
    this.#onAnswered(error);
    this.#onEnded(error);
  }
}

async function oneAfterTheOther({ ports, count }: ClientRequest): Promise<string[]> {
  const errors: string[] = [];
  for (let index = 0; index < count; index++) {
    const error = await new Session(ports[index % ports.length] as number, true).ended;
    if (error) errors.push(error);
    if ((index + 1) % PROGRESS === 0) tell({ progress: index + 1 });
  }
  return errors;
}

async function together({ ports, count }: ClientRequest): Promise<string[]> {
  const sessions = Array.from({ length: count }, (_, i) => new Session(ports[i % ports.length] as number, false));
  const unanswered = await Promise.all(sessions.map(({ answered }) => answered));
  for (const session of sessions) session.quit();
  const ended = await Promise.all(sessions.map((session) => session.ended));
  return ended.map((error, index) => unanswered[index] || error).filter((error) => error !== '');
}

function tell(answer: ClientAnswer): void {
  process.send?.(answer);
}

process.on('message', async (request: ClientRequest) => {
  const errors = await (request.together ? together : oneAfterTheOther)(request);
  tell({ done: request.count, failed: errors.length, errors: errors.slice(0, ERRORS) });
});
process.once('disconnect', () => process.exit(0));
