import { Bytes } from '../bytes';

/** What a command of the app means for the login (RFC 1939, RFC 2449, RFC 2595, RFC 5034, RFC 6856). */
export enum Verb {
  capa,
  user,
  pass,
  apop,
  auth,
  stls,
  /** Allowed only before the login, and answered in one line. */
  utf8,
  quit,
  /** Needs the session of the real login. */
  other,
}

export class Command {
  readonly verb: Verb;
  /** All behind the first space; a password may hold spaces (RFC 1939 section 7, PASS). */
  readonly rest: Bytes;

  constructor(readonly line: Bytes) {
    const space = line.indexOf(0x20);
    const end = space < 0 ? line.length : space;
    this.verb = verbOf(line.slice(0, end));
    this.rest = line.slice(end + 1, line.length);
  }
}

function verbOf(word: Bytes): Verb {
  if (word.is('CAPA')) return Verb.capa;
  if (word.is('USER')) return Verb.user;
  if (word.is('PASS')) return Verb.pass;
  if (word.is('APOP')) return Verb.apop;
  if (word.is('AUTH')) return Verb.auth;
  if (word.is('STLS')) return Verb.stls;
  if (word.is('UTF8')) return Verb.utf8;
  if (word.is('QUIT')) return Verb.quit;
  return Verb.other;
}
