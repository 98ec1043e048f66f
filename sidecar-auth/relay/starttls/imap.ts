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
} from './dialogue.ts';

/** In wire order. */
type State = 'greeting' | 'starttls';

/**
 * RFC 9051 section 6.2.1: greeting, STARTTLS. The server's capabilities are not asked for, which would be a round trip: nobody has vouched
 * for what they say, and a server without STARTTLS answers BAD, as to every command that it does not know (section 7.1.3).
 */
export class ImapDialogue implements Dialogue {
  #state: State = 'greeting';

  onLine(line: string): Action {
    return this.#state === 'greeting' ? this.#onGreeting(line) : this.#onStartTls(line);
  }

  #onGreeting(line: string): Action {
    if (isUntagged(line, 'BYE')) throw unavailable('in its greeting');
    // Nobody knows whose session that is, and STARTTLS is not allowed in it (RFC 9051 section 11.1; CVE-2020-12398).
    if (isUntagged(line, 'PREAUTH'))
      throw new Failure('tls', 'the server greeted with PREAUTH, in which no TLS can begin');
    if (!isUntagged(line, 'OK')) throw noGreeting('IMAP');
    this.#state = 'starttls';
    return send('p1 STARTTLS');
  }

  #onStartTls(line: string): Action {
    if (isUntagged(line, 'BYE')) throw unavailable('before TLS');
    const [, status] = /^p1 (OK|NO|BAD)(?: |$)/i.exec(line) ?? [];
    if (status?.toUpperCase() === 'BAD') throw notOffered('STARTTLS');
    if (status?.toUpperCase() === 'NO') throw refused('STARTTLS');
    if (status === undefined) throw unexpected('STARTTLS');
    return BEGIN_TLS;
  }
}

function isUntagged(line: string, name: string): boolean {
  return new RegExp(`^\\* ${name}( |$)`, 'i').test(line);
}
