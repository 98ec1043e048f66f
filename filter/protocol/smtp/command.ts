import { Bytes } from '../bytes';
import { wordAt, wordsOf } from '../words';

/** What a command of the app means for the login (RFC 5321 4.1.1, RFC 4954). */
export enum Verb {
  ehlo,
  helo,
  auth,
  starttls,
  quit,
  /** Needs no login and changes nothing: NOOP, RSET, HELP. */
  neutral,
  /** Needs the session of the real login. */
  other,
}

export class Command {
  readonly verb: Verb;
  readonly words: Bytes[];

  constructor(readonly line: Bytes) {
    this.words = wordsOf(line);
    this.verb = verbOf(wordAt(this.words, 0));
  }

  argument(index: i32): Bytes {
    return wordAt(this.words, index + 1);
  }
}

function verbOf(word: Bytes): Verb {
  if (word.is('EHLO')) return Verb.ehlo;
  if (word.is('HELO')) return Verb.helo;
  if (word.is('AUTH')) return Verb.auth;
  if (word.is('STARTTLS')) return Verb.starttls;
  if (word.is('QUIT')) return Verb.quit;
  if (word.is('NOOP') || word.is('RSET') || word.is('HELP')) return Verb.neutral;
  return Verb.other;
}
