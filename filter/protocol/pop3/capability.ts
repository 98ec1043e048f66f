import { Bytes } from '../bytes';
import { Offer } from '../sasl/offer';
import { ServerCapability, Terms } from '../terms';
import { wordAt, wordsOf } from '../words';

/** The server's answer to CAPA (RFC 2449 section 5). */
export class Capability extends ServerCapability {
  /** Status line and list as they came, dots stuffed; nothing where the server knows no CAPA. */
  private readonly lines: Bytes[] = [];
  readonly offer: Offer = new Offer();
  private user: bool = false;

  add(line: Bytes): void {
    this.lines.push(line);
    if (this.lines.length > 1) this.read(line);
  }

  /** A server without CAPA (before 1998) has USER and PASS. */
  get takesUser(): bool {
    return this.user || this.lines.length == 0;
  }

  /** As the app may see it: no STLS (the app's side is plain), and the logins that it can use instead of the server's. The rest stays. */
  rewritten(terms: Terms): string {
    const reply = Bytes.of(this.lines.length == 0 ? MINIMAL : '');
    for (let i = 0; i < this.lines.length; i++) {
      if (i == 0 || !isReplaced(wordAt(wordsOf(this.lines[i]), 0))) reply.append(this.lines[i]).text('\r\n');
    }
    return reply.text(`${terms.takesPassword ? 'USER\r\n' : ''}SASL ${terms.offered}\r\n.\r\n`).toString();
  }

  private read(line: Bytes): void {
    const words = wordsOf(line);
    const name = wordAt(words, 0);
    if (name.is('USER')) this.user = true;
    if (!name.is('SASL')) return;
    for (let i = 1; i < words.length; i++) this.offer.add(words[i]);
  }
}

/** TOP and UIDL are optional, but no server is known without them, and mutt gives up where a list lacks TOP. */
const MINIMAL = '+OK\r\nTOP\r\nUIDL\r\n';

function isReplaced(name: Bytes): bool {
  return name.is('STLS') || name.is('SASL') || name.is('USER');
}
