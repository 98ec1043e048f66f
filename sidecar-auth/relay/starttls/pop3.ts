import {
  type Action,
  BEGIN_TLS,
  type Dialogue,
  noGreeting,
  notOffered,
  send,
  unavailable,
  unexpected,
} from './dialogue.ts';

/** In wire order. */
type State = 'greeting' | 'stls';

/**
 * RFC 2595 section 4: greeting, STLS. The server's capabilities (CAPA) are not asked for, which would be a round trip: nobody has vouched
 * for what they say, and a server without STLS answers -ERR, as to every command that it does not know (RFC 1939 section 3).
 */
export class Pop3Dialogue implements Dialogue {
  #state: State = 'greeting';

  onLine(line: string): Action {
    return this.#state === 'greeting' ? this.#onGreeting(line) : this.#onStls(line);
  }

  #onGreeting(line: string): Action {
    if (isErr(line)) throw unavailable('in its greeting');
    if (!isOk(line)) throw noGreeting('POP3');
    this.#state = 'stls';
    return send('STLS');
  }

  #onStls(line: string): Action {
    if (isErr(line)) throw notOffered('STLS');
    if (!isOk(line)) throw unexpected('STLS');
    return BEGIN_TLS;
  }
}

function isOk(line: string): boolean {
  return /^\+OK( |$)/i.test(line);
}

function isErr(line: string): boolean {
  return /^-ERR( |$)/i.test(line);
}
