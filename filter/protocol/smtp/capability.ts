import { Bytes } from '../bytes';
import { Offer } from '../sasl/offer';
import { wordAt, wordsOf } from '../words';

/** The server's answer to EHLO (RFC 5321 4.1.1.1), kept until the app has been told. */
export class Capability {
  /** The texts behind the codes; the first is the server's name and greeting. */
  private readonly lines: Bytes[] = [];
  readonly offer: Offer = new Offer();

  add(text: Bytes): void {
    this.lines.push(text);
    if (this.lines.length > 1 && isAuth(text)) this.readAuth(text);
  }

  /**
   * As the app may see it: no STARTTLS (the app's side is plain), and the mechanisms that it can use instead of the server's. The rest stays:
   * clients rely on SIZE, 8BITMIME, SMTPUTF8.
   */
  rewritten(mechanisms: string): string {
    const reply = new Bytes();
    for (let i = 0; i < this.lines.length; i++) {
      if (i > 0 && (isAuth(this.lines[i]) || this.lines[i].is('STARTTLS'))) continue;
      reply.text('250-').append(this.lines[i]).text('\r\n');
    }
    return reply.text(`250 AUTH ${mechanisms}\r\n`).toString();
  }

  /** The answer to HELO, which has one line. */
  helo(): string {
    return `250 ${this.lines.length > 0 ? wordAt(wordsOf(this.lines[0]), 0).toString() : ''}\r\n`;
  }

  private readAuth(text: Bytes): void {
    const words = wordsOf(text);
    for (let i = 0; i < words.length; i++) {
      // Some servers repeat the line as "AUTH=PLAIN LOGIN", for clients of before RFC 2554.
      this.offer.add(words[i].begins('AUTH=') ? words[i].slice(5, words[i].length) : words[i]);
    }
  }
}

function isAuth(text: Bytes): bool {
  return text.begins('AUTH ') || text.begins('AUTH=') || text.is('AUTH');
}
