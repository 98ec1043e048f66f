import { Bytes } from '../bytes';
import { wordAt, wordsOf } from '../words';
import { Literal, literalOf } from './literal';

/** What a command of the app means for the login (RFC 9051 section 6). */
export enum Verb {
  /** No `tag SP verb`. */
  malformed,
  capability,
  noop,
  id,
  logout,
  starttls,
  authenticate,
  login,
  /** Needs the session of the real login. */
  other,
}

/** The first line of a command; more follow where it ends in a literal. */
export class Command {
  /** Empty where the line has none. */
  readonly tag: Bytes;
  readonly verb: Verb;
  /** What follows the verb, with the space before it. */
  readonly rest: Bytes;
  readonly literal: Literal | null;

  constructor(readonly line: Bytes) {
    const tagEnd = wordEnd(line, 0);
    const verbEnd = wordEnd(line, tagEnd + 1);
    const valid = isTag(line, tagEnd);
    this.tag = valid ? line.slice(0, tagEnd) : new Bytes();
    this.verb = valid ? verbOf(line.slice(tagEnd + 1, verbEnd)) : Verb.malformed;
    this.rest = line.slice(verbEnd, line.length);
    this.literal = literalOf(line);
  }

  /** AUTHENTICATE's mechanism (0) and initial response (1, RFC 4959), or nothing. */
  word(index: i32): Bytes {
    return wordAt(wordsOf(this.rest), index);
  }

  /** The app sends octets at once that would be read as commands if this line were refused. */
  get pushesLiteral(): bool {
    const literal = this.literal;
    return literal != null && !literal.synchronizing;
  }
}

function wordEnd(line: Bytes, from: i32): i32 {
  const space = line.indexOf(0x20, from);
  return space < 0 ? line.length : space;
}

/** RFC 9051 section 9: 1*<any ASTRING-CHAR except "+">. */
function isTag(line: Bytes, end: i32): bool {
  for (let i = 0; i < end; i++) {
    if (line.at(i) <= 0x20 || line.at(i) >= 0x7f || '(){%*"\\+'.includes(String.fromCharCode(line.at(i)))) return false;
  }
  return end > 0;
}

function verbOf(word: Bytes): Verb {
  if (word.is('CAPABILITY')) return Verb.capability;
  if (word.is('NOOP')) return Verb.noop;
  if (word.is('ID')) return Verb.id;
  if (word.is('LOGOUT')) return Verb.logout;
  if (word.is('STARTTLS')) return Verb.starttls;
  if (word.is('AUTHENTICATE')) return Verb.authenticate;
  if (word.is('LOGIN')) return Verb.login;
  return word.length > 0 ? Verb.other : Verb.malformed;
}
