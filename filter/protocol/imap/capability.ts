import { Bytes } from '../bytes';
import { Offer } from '../sasl/offer';
import { ServerCapability, Terms } from '../terms';
import { wordsOf } from '../words';
import { Response } from './response';

/** What the server can do (RFC 9051 section 7.2.2). */
export class Capability extends ServerCapability {
  private readonly words: Bytes[];
  saslIr: bool = false;
  loginDisabled: bool = false;
  readonly offer: Offer = new Offer();

  /** `list` is space-separated. */
  constructor(list: Bytes) {
    super();
    this.words = wordsOf(list);
    for (let i = 0; i < this.words.length; i++) this.note(this.words[i]);
  }

  /**
   * As the app may see it: no STARTTLS (its side is plain), and nothing of the server's about logins. Where it may still log in, `logins` is
   * what it can do that with here; else that is empty.
   */
  rewritten(logins: string): Bytes {
    const list = new Bytes();
    for (let i = 0; i < this.words.length; i++) {
      const word = this.words[i];
      if (isAboutLogin(word) || (logins != '' && word.is('SASL-IR'))) continue;
      if (list.length > 0) list.push(0x20);
      list.append(word);
    }
    return logins != '' && list.length > 0 ? list.text(` ${logins}`) : list.text(logins);
  }

  private note(word: Bytes): void {
    if (word.begins('AUTH=')) this.offer.add(word.slice(5, word.length));
    else if (word.is('SASL-IR')) this.saslIr = true;
    else if (word.is('LOGINDISABLED')) this.loginDisabled = true;
  }
}

/** The capabilities by which an app is told how it can log in. LOGIN (section 6.2.3) is for passwords. */
export function loginsOf(terms: Terms): string {
  const names = wordsOf(Bytes.of(terms.offered));
  let list = '';
  for (let i = 0; i < names.length; i++) list += `AUTH=${names[i].toString()} `;
  return `${list}SASL-IR${terms.takesPassword ? '' : ' LOGINDISABLED'}`;
}

function isAboutLogin(word: Bytes): bool {
  return word.begins('AUTH=') || word.is('STARTTLS') || word.is('LOGINDISABLED');
}

const NAME = 'CAPABILITY ';

/** The list in an untagged CAPABILITY or in a response code, or null. */
export function capabilityOf(response: Response): Capability | null {
  const start = listStart(response);
  return start < 0 ? null : new Capability(response.line.slice(start, listEnd(response)));
}

/** The line with its list as the app may see it; a line without one stays as it is. */
export function rewrittenLine(response: Response, logins: string): Bytes {
  const capability = capabilityOf(response);
  if (capability == null) return response.line;
  const line = response.line;
  const list = capability.rewritten(logins);
  return line.slice(0, listStart(response)).append(list).appendRange(line, listEnd(response), line.length);
}

function isData(response: Response): bool {
  return response.untagged && response.name.is('CAPABILITY');
}

function listStart(response: Response): i32 {
  if (isData(response)) return '* '.length + NAME.length;
  return response.code.begins(NAME) ? response.codeStart + NAME.length : -1;
}

function listEnd(response: Response): i32 {
  return isData(response) ? response.line.length : response.codeEnd;
}
