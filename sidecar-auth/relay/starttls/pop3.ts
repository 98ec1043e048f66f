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

/** In wire order. */
type State = 'greeting' | 'capa' | 'capabilities' | 'offered' | 'stls';

/** RFC 2595 section 4: greeting, CAPA (RFC 2449), STLS. */
export class Pop3Dialogue implements Dialogue {
  #state: State = 'greeting';

  onLine(line: string): Action {
    if (this.#state === 'greeting') return this.#onGreeting(line);
    if (this.#state === 'capa') return this.#onCapa(line);
    if (this.#state === 'stls') return this.#onStls(line);
    return this.#onCapability(line);
  }

  #onGreeting(line: string): Action {
    if (isErr(line)) throw unavailable('in its greeting');
    if (!isOk(line)) throw noGreeting('POP3');
    this.#state = 'capa';
    return send('CAPA');
  }

  #onCapa(line: string): Action {
    if (isErr(line)) throw notOffered('STLS'); // a server from before RFC 2449
    if (!isOk(line)) throw unexpected('CAPA');
    this.#state = 'capabilities';
    return WAIT;
  }

  #onCapability(line: string): Action {
    if (/^STLS *$/i.test(line)) this.#state = 'offered';
    if (line !== '.') return WAIT;
    if (this.#state !== 'offered') throw notOffered('STLS');
    this.#state = 'stls';
    return send('STLS');
  }

  #onStls(line: string): Action {
    if (isErr(line)) throw refused('STLS');
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
