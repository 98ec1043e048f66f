import { Failure } from '../../failure.ts';
import {
  type Action,
  BEGIN_TLS,
  type Dialogue,
  noGreeting,
  notOffered,
  refused,
  send,
  unavailable,
  unexpected,
  WAIT,
} from './dialogue.ts';

/** In wire order. `domain` is the first line of the answer to EHLO, which holds no keyword (RFC 5321 4.1.1.1). */
type State = 'greeting' | 'domain' | 'keywords' | 'offered' | 'starttls';

/** RFC 5321 section 4.2: a code, `-` on every line but the last, text. */
interface Reply {
  code: string;
  last: boolean;
  text: string;
}

/** RFC 3207: greeting, EHLO, STARTTLS. */
export class SmtpDialogue implements Dialogue {
  #state: State = 'greeting';
  readonly #hello: string;

  constructor(hello: string) {
    this.#hello = hello;
  }

  onLine(line: string): Action {
    const reply = readReply(line);
    if (this.#state === 'greeting') return this.#onGreeting(reply);
    if (reply?.code === '421') throw unavailable('before TLS');
    return this.#state === 'starttls' ? this.#onStartTls(reply) : this.#onHello(reply);
  }

  #onGreeting(reply: Reply | undefined): Action {
    if (!reply) throw noGreeting('SMTP');
    if (reply.code.startsWith('4')) throw unavailable('in its greeting');
    if (reply.code !== '220') throw new Failure('server_greeting', 'the server refused the connection in its greeting');
    if (!reply.last) return WAIT;
    this.#state = 'domain';
    return send(`EHLO ${this.#hello}`);
  }

  #onHello(reply: Reply | undefined): Action {
    // A server without EHLO (before RFC 1869, or masked by a firewall) has no STARTTLS either.
    if (reply?.code.startsWith('5')) throw notOffered('STARTTLS');
    if (reply?.code.startsWith('4')) throw unavailable('in answer to EHLO');
    if (reply?.code !== '250') throw unexpected('EHLO');
    if (this.#state === 'domain') this.#state = 'keywords';
    else if (/^STARTTLS *$/i.test(reply.text)) this.#state = 'offered';
    if (!reply.last) return WAIT;
    if (this.#state !== 'offered') throw notOffered('STARTTLS');
    this.#state = 'starttls';
    return send('STARTTLS');
  }

  #onStartTls(reply: Reply | undefined): Action {
    if (reply && /^[45]/.test(reply.code)) throw refused('STARTTLS');
    if (reply?.code !== '220') throw unexpected('STARTTLS');
    return reply.last ? BEGIN_TLS : WAIT;
  }
}

function readReply(line: string): Reply | undefined {
  const [, code, separator, text] = /^([2-5]\d\d)(?:([ -])(.*))?$/.exec(line) ?? [];
  return code === undefined ? undefined : { code, last: separator !== '-', text: text ?? '' };
}
