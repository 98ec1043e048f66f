import { Bytes } from '../bytes';
import { Mechanism } from '../sasl/client';
import { wordsOf } from '../words';
import { Response } from './response';

/** What the server can do (RFC 9051 section 7.2.2). */
export class Capability {
  private readonly words: Bytes[];
  saslIr: bool = false;
  loginDisabled: bool = false;
  private plain: bool = false;
  private login: bool = false;

  /** `list` is space-separated. */
  constructor(list: Bytes) {
    this.words = wordsOf(list);
    for (let i = 0; i < this.words.length; i++) this.note(this.words[i]);
  }

  get mechanism(): Mechanism {
    if (this.plain) return Mechanism.plain;
    return this.login ? Mechanism.login : Mechanism.none;
  }

  /**
   * As the app may see it: no STARTTLS (its side is plain), no LOGINDISABLED, none of the server's AUTH=, and where it may still log in,
   * what it can do that with here.
   */
  rewritten(offersLogin: bool): Bytes {
    const list = new Bytes();
    for (let i = 0; i < this.words.length; i++) {
      const word = this.words[i];
      if (isAboutLogin(word) || (offersLogin && word.is('SASL-IR'))) continue;
      if (list.length > 0) list.push(0x20);
      list.append(word);
    }
    return offersLogin ? list.text(`${list.length > 0 ? ' ' : ''}AUTH=PLAIN AUTH=LOGIN SASL-IR`) : list;
  }

  private note(word: Bytes): void {
    if (word.is('AUTH=PLAIN')) this.plain = true;
    else if (word.is('AUTH=LOGIN')) this.login = true;
    else if (word.is('SASL-IR')) this.saslIr = true;
    else if (word.is('LOGINDISABLED')) this.loginDisabled = true;
  }
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
export function rewrittenLine(response: Response, offersLogin: bool): Bytes {
  const capability = capabilityOf(response);
  if (capability == null) return response.line;
  const line = response.line;
  const list = capability.rewritten(offersLogin);
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
