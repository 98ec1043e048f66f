import { Bytes } from '../bytes';
import { APP_SECRET } from '../limits';
import { Literal, literalOf } from './literal';

/** LOGIN takes a user name and a password (RFC 9051 section 6.2.3). */
const ARGUMENTS: i32 = 2;

/** The arguments of the app's LOGIN: astrings, over as many lines as its literals make of it. */
export class LoginArguments {
  malformed: bool = false;
  /** The argument that follows the line read last. */
  literal: Literal | null = null;
  private readonly values: Bytes[] = [];

  /** `rest` is what follows the verb or a literal. */
  read(rest: Bytes): void {
    this.literal = null;
    let at = 0;
    while (at < rest.length && !this.malformed) at = this.readOne(rest, at);
    if (this.literal == null && this.values.length < ARGUMENTS) this.malformed = true;
  }

  add(value: Bytes): void {
    if (this.values.length >= ARGUMENTS || value.length > APP_SECRET) this.malformed = true;
    else this.values.push(value);
  }

  get user(): Bytes {
    return this.values.length > 0 ? this.values[0] : new Bytes();
  }

  get password(): Bytes {
    return this.values.length > 1 ? this.values[1] : new Bytes();
  }

  /** Reads the argument after the space at `space`; gives the index behind it. */
  private readOne(line: Bytes, space: i32): i32 {
    const start = space + 1;
    if (line.at(space) != 0x20) return this.refuse(line);
    if (line.at(start) == 0x22) return this.readQuoted(line, start + 1);
    if (line.at(start) == 0x7b) return this.readLiteral(line, start);
    return this.readAtom(line, start);
  }

  private readQuoted(line: Bytes, start: i32): i32 {
    const value = new Bytes();
    for (let i = start; i < line.length; i++) {
      if (line.at(i) == 0x22) {
        this.add(value);
        return i + 1;
      }
      if (line.at(i) == 0x5c) i++;
      if (i < line.length) value.push(line.at(i));
    }
    return this.refuse(line);
  }

  private readLiteral(line: Bytes, start: i32): i32 {
    const literal = literalOf(line);
    if (literal == null || literal.start != start || this.values.length >= ARGUMENTS) return this.refuse(line);
    this.literal = literal;
    return line.length;
  }

  /** Up to the next space, whatever it is made of: people type passwords without quotes. */
  private readAtom(line: Bytes, start: i32): i32 {
    const space = line.indexOf(0x20, start);
    const end = space < 0 ? line.length : space;
    const value = line.slice(start, end);
    if (value.length == 0 || literalOf(value) != null) return this.refuse(line);
    this.add(value);
    return end;
  }

  private refuse(line: Bytes): i32 {
    this.malformed = true;
    return line.length;
  }
}

/** Our LOGIN, cut where the server's "+" must be awaited: before each literal. */
export function loginCommand(tag: string, user: Bytes, password: Bytes): Bytes[] {
  const parts: Bytes[] = [];
  const withUser = argument(Bytes.of(tag).text(' LOGIN '), user, parts);
  const complete = argument(withUser.text(' '), password, parts);
  parts.push(complete.text('\r\n'));
  return parts;
}

/** Appends `value` to `line` where a quoted string can hold it; else ends `line` in a literal and begins the next with it. */
function argument(line: Bytes, value: Bytes, parts: Bytes[]): Bytes {
  if (isQuotable(value)) return appendQuoted(line, value);
  parts.push(line.text(`{${value.length}}\r\n`));
  return new Bytes().append(value);
}

/** RFC 9051 section 9, QUOTED-CHAR: seven bits, no NUL, CR, LF. Eight bits need UTF8=ACCEPT or a literal. */
function isQuotable(value: Bytes): bool {
  for (let i = 0; i < value.length; i++) {
    const byte = value.at(i);
    if (byte == 0x00 || byte == 0x0d || byte == 0x0a || byte > 0x7f) return false;
  }
  return true;
}

function appendQuoted(line: Bytes, value: Bytes): Bytes {
  line.push(0x22);
  for (let i = 0; i < value.length; i++) {
    if (value.at(i) == 0x22 || value.at(i) == 0x5c) line.push(0x5c);
    line.push(value.at(i));
  }
  return line.push(0x22);
}
