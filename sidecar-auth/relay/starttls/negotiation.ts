import { Failure, type Protocol } from '../../failure.ts';
import { SERVER_LINE_LIMIT, SERVER_LINES_LIMIT } from '../limits.ts';
import type { Action, Dialogue } from './dialogue.ts';
import { ImapDialogue } from './imap.ts';
import { Pop3Dialogue } from './pop3.ts';
import { SmtpDialogue } from './smtp.ts';

/** What the server's bytes led to. `tls`: it agreed, and the next byte of either side belongs to TLS. */
export interface Progress {
  send?: string;
  tls: boolean;
}

/** The way to TLS without a socket: bytes of the server in, commands out. */
export class Negotiation {
  /** Whether the first line of a greeting has come. */
  greeted = false;
  readonly #dialogue: Dialogue;
  #rest = '';
  #lines = 0;
  #agreed = false;

  /** `hello`: the name for SMTP's EHLO. */
  constructor(protocol: Protocol, hello: string) {
    this.#dialogue = dialogue(protocol, hello);
  }

  /** Takes the server's next bytes, in pieces of any size. Throws a Failure: the connection is then of no use. */
  push(chunk: Buffer): Progress {
    if (this.#agreed) throw tooEarly();
    this.#rest += chunk.toString('latin1');
    for (let line = this.#takeLine(); line !== undefined; line = this.#takeLine()) {
      const action = this.#onLine(line);
      if (action.do !== 'wait') return this.#act(action);
    }
    return { tls: false };
  }

  /** The server's end of stream. */
  closed(): Failure {
    if (this.greeted) return new Failure('server_unavailable', 'the server closed the connection before TLS');
    return new Failure('server_greeting', 'the server closed the connection before its greeting');
  }

  /** The deadline has passed. */
  late(ms: number): Failure {
    if (this.greeted) return new Failure('tls', `the server did not agree to TLS within ${ms} ms`);
    return new Failure('server_greeting', `the server did not greet within ${ms} ms`);
  }

  #onLine(line: string): Action {
    this.#lines++;
    if (this.#lines > SERVER_LINES_LIMIT) throw tooMuch(`more than ${SERVER_LINES_LIMIT} lines`);
    const action = this.#dialogue.onLine(line);
    this.greeted = true;
    return action;
  }

  /**
   * An answer ends where it ends. What follows it in the same read was written before the server could have read our next command, or
   * is to be mistaken for a part of what TLS protects (CVE-2011-0411 seen from the client's side, RFC 3207 section 4.2).
   */
  #act(action: Exclude<Action, { do: 'wait' }>): Progress {
    if (this.#rest !== '') throw tooEarly();
    this.#agreed = action.do === 'tls';
    return action.do === 'send' ? { send: action.command, tls: false } : { tls: true };
  }

  #takeLine(): string | undefined {
    const end = this.#rest.indexOf('\n');
    if ((end < 0 ? this.#rest.length : end) > SERVER_LINE_LIMIT)
      throw tooMuch(`a line of more than ${SERVER_LINE_LIMIT} octets`);
    if (end < 0) return undefined;
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    // Lines end with CRLF and nothing else: two readers that disagree on that are two readers of different answers.
    if (!/^[^\r\0]*\r$/.test(line)) throw malformed(this.greeted);
    return line.slice(0, -1);
  }
}

function dialogue(protocol: Protocol, hello: string): Dialogue {
  if (protocol === 'imap') return new ImapDialogue();
  if (protocol === 'pop3') return new Pop3Dialogue();
  if (!/^[\x21-\x7e]+$/.test(hello))
    throw new Failure('internal', 'the name for EHLO is not printable ASCII', { retry: false });
  return new SmtpDialogue(hello);
}

function tooEarly(): Failure {
  return new Failure(
    'tls',
    'the server sent more than its answer: bytes in clear that came before TLS are not trusted',
  );
}

function tooMuch(what: string): Failure {
  return new Failure('limit', `the server sent ${what} before TLS`);
}

function malformed(greeted: boolean): Failure {
  return new Failure(greeted ? 'protocol' : 'server_greeting', 'the server sent a line that does not end with CRLF');
}
