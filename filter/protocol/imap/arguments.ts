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
  /** The line read last announced a literal that comes unasked, argument or not. */
  pushesLiteral: bool = false;
  private readonly values: Bytes[] = [];

  /** `rest` is what follows the verb or a literal. */
  read(rest: Bytes): void {
    const announced = literalOf(rest);
    this.pushesLiteral = announced != null && !announced.synchronizing;
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
