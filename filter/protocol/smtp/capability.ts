import { Bytes } from '../bytes';
import { Mechanism } from '../sasl/client';
import { wordAt, wordsOf } from '../words';

/** The server's answer to EHLO (RFC 5321 4.1.1.1), kept until the app has been told. */
export class Capability {
  /** The texts behind the codes; the first is the server's name and greeting. */
  private readonly lines: Bytes[] = [];
  private plain: bool = false;
  private login: bool = false;

  add(text: Bytes): void {
    this.lines.push(text);
    if (this.lines.length > 1 && isAuth(text)) this.readAuth(text);
  }

  get mechanism(): Mechanism {
    if (this.plain) return Mechanism.plain;
    return this.login ? Mechanism.login : Mechanism.none;
  }

  /**
   * As the app may see it: no STARTTLS (the app's side is plain), and an AUTH that it can use instead of the server's. The rest stays:
   * clients rely on SIZE, 8BITMIME, SMTPUTF8.
   */
  rewritten(): string {
    let reply = '';
    for (let i = 0; i < this.lines.length; i++) {
      if (i > 0 && (isAuth(this.lines[i]) || this.lines[i].is('STARTTLS'))) continue;
      reply += `250-${this.lines[i].toString()}\r\n`;
    }
    return `${reply}250 AUTH PLAIN LOGIN\r\n`;
  }

  /** The answer to HELO, which has one line. */
  helo(): string {
    return `250 ${this.lines.length > 0 ? wordAt(wordsOf(this.lines[0]), 0).toString() : ''}\r\n`;
  }

  private readAuth(text: Bytes): void {
    const words = wordsOf(text);
    for (let i = 0; i < words.length; i++) {
      // Some servers repeat the line as "AUTH=PLAIN LOGIN", for clients of before RFC 2554.
      const word = words[i].begins('AUTH=') ? words[i].slice(5, words[i].length) : words[i];
      if (word.is('PLAIN')) this.plain = true;
      if (word.is('LOGIN')) this.login = true;
    }
  }
}

function isAuth(text: Bytes): bool {
  return text.begins('AUTH ') || text.begins('AUTH=') || text.is('AUTH');
}
