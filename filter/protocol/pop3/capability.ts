import { Bytes } from '../bytes';
import { wordAt, wordsOf } from '../words';

/** How the login at the server is done, best first. */
export enum Way {
  none,
  /** SASL PLAIN (RFC 4616, RFC 5034) */
  plain,
  /** SASL LOGIN (draft-murchison-sasl-login) */
  login,
  /** USER and PASS (RFC 1939 section 7) */
  user,
}

/** The server's answer to CAPA (RFC 2449 section 5). */
export class Capability {
  /** Status line and list as they came, dots stuffed; nothing where the server knows no CAPA. */
  private readonly lines: Bytes[] = [];
  private plain: bool = false;
  private login: bool = false;
  private user: bool = false;

  add(line: Bytes): void {
    this.lines.push(line);
    if (this.lines.length > 1) this.read(line);
  }

  /**
   * A server without CAPA (before 1998) has USER and PASS. USER comes last: Dovecot lists it even where its mechanisms leave
   * only LOGIN, and then refuses it.
   */
  get way(): Way {
    if (this.plain) return Way.plain;
    if (this.login) return Way.login;
    return this.user || this.lines.length == 0 ? Way.user : Way.none;
  }

  /** As the app may see it: no STLS (the app's side is plain), and the logins that it can use instead of the server's. The rest stays. */
  rewritten(): string {
    if (this.lines.length == 0) return minimal();
    let reply = '';
    for (let i = 0; i < this.lines.length; i++) {
      if (i == 0 || !isReplaced(wordAt(wordsOf(this.lines[i]), 0))) reply += `${this.lines[i].toString()}\r\n`;
    }
    return `${reply}${OURS}`;
  }

  private read(line: Bytes): void {
    const words = wordsOf(line);
    const name = wordAt(words, 0);
    if (name.is('USER')) this.user = true;
    if (!name.is('SASL')) return;
    for (let i = 1; i < words.length; i++) {
      if (words[i].is('PLAIN')) this.plain = true;
      if (words[i].is('LOGIN')) this.login = true;
    }
  }
}

const OURS = 'USER\r\nSASL PLAIN LOGIN\r\n.\r\n';

/** TOP and UIDL are optional, but no server is known without them, and mutt gives up where a list lacks TOP. */
function minimal(): string {
  return `+OK\r\nTOP\r\nUIDL\r\n${OURS}`;
}

function isReplaced(name: Bytes): bool {
  return name.is('STLS') || name.is('SASL') || name.is('USER');
}
