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

/** In wire order. */
type State = 'greeting' | 'capability' | 'listed' | 'offered' | 'starttls';

const CAPABILITY_TAG = 'p1';
const STARTTLS_TAG = 'p2';

/** RFC 9051 section 6.2.1: greeting, CAPABILITY where the greeting does not tell enough, STARTTLS. */
export class ImapDialogue implements Dialogue {
  #state: State = 'greeting';

  onLine(line: string): Action {
    if (this.#state === 'greeting') return this.#onGreeting(line);
    if (isUntagged(line, 'BYE')) throw unavailable('before TLS');
    return this.#state === 'starttls' ? this.#onStartTls(line) : this.#onCapability(line);
  }

  #onGreeting(line: string): Action {
    if (isUntagged(line, 'BYE')) throw unavailable('in its greeting');
    // Nobody knows whose session that is, and STARTTLS is not allowed in it (RFC 9051 section 11.1; CVE-2020-12398).
    if (isUntagged(line, 'PREAUTH'))
      throw new Failure('tls', 'the server greeted with PREAUTH, in which no TLS can begin');
    if (!isUntagged(line, 'OK')) throw noGreeting('IMAP');
    const [, listed] = /^\* OK \[CAPABILITY ([^\]]*)\]/i.exec(line) ?? [];
    return offers(listed) ? this.#startTls() : this.#askCapability();
  }

  #askCapability(): Action {
    this.#state = 'capability';
    return send(`${CAPABILITY_TAG} CAPABILITY`);
  }

  #onCapability(line: string): Action {
    const [, listed] = /^\* CAPABILITY (.*)$/i.exec(line) ?? [];
    if (listed !== undefined) {
      this.#state = this.#state === 'offered' || offers(listed) ? 'offered' : 'listed';
      return WAIT;
    }
    const status = taggedStatus(line, CAPABILITY_TAG);
    if (status === 'NO' || status === 'BAD') throw notOffered('STARTTLS');
    // An OK without a list would be one that came before the command was read.
    if (status !== 'OK' || this.#state === 'capability') throw unexpected('CAPABILITY');
    if (this.#state === 'listed') throw notOffered('STARTTLS');
    return this.#startTls();
  }

  #startTls(): Action {
    this.#state = 'starttls';
    return send(`${STARTTLS_TAG} STARTTLS`);
  }

  #onStartTls(line: string): Action {
    const status = taggedStatus(line, STARTTLS_TAG);
    if (status === 'NO' || status === 'BAD') throw refused('STARTTLS');
    if (status !== 'OK') throw unexpected('STARTTLS');
    return BEGIN_TLS;
  }
}

function isUntagged(line: string, name: string): boolean {
  return new RegExp(`^\\* ${name}( |$)`, 'i').test(line);
}

function taggedStatus(line: string, tag: string): string | undefined {
  return new RegExp(`^${tag} (OK|NO|BAD)( |$)`, 'i').exec(line)?.[1]?.toUpperCase();
}

function offers(listed: string | undefined): boolean {
  return listed?.toUpperCase().split(' ').includes('STARTTLS') ?? false;
}
