import { NESTING } from '../limits.ts';

/** A string, atom or NIL as its text, or a parenthesised list. */
export type Value = string | Value[];

/** The command does not follow the grammar (RFC 9051 section 9); becomes a BAD. */
export class SyntaxFault extends Error {}

/**
 * Parses what follows a command's name: atoms, quoted strings, literals (`{n}` CRLF and n octets, as on the wire) and lists.
 * @throws {SyntaxFault}
 */
export function parseArguments(input: string): Value[] {
  const reader = new Reader(input);
  const values = reader.values(0);
  if (!reader.atEnd) throw new SyntaxFault('Unbalanced parentheses');
  return values;
}

export function text(value: Value | undefined): string {
  if (typeof value !== 'string') throw new SyntaxFault('A string is missing');
  return value;
}

export function list(value: Value | undefined): string[] {
  if (!Array.isArray(value)) throw new SyntaxFault('A list is missing');
  return value.map(text);
}

class Reader {
  readonly #input: string;
  #at = 0;

  constructor(input: string) {
    this.#input = input;
  }

  get atEnd(): boolean {
    return this.#at >= this.#input.length;
  }

  values(depth: number): Value[] {
    const values: Value[] = [];
    while (!this.atEnd && this.#input[this.#at] !== ')') {
      if (this.#input[this.#at] === ' ') this.#at++;
      else values.push(this.#value(depth));
    }
    return values;
  }

  #value(depth: number): Value {
    const first = this.#input[this.#at];
    if (first === '(') return this.#list(depth + 1);
    if (first === '"') return this.#match(/"((?:[^"\\\r\n]|\\["\\])*)"/y).replace(/\\(.)/g, '$1');
    if (first === '{') return this.#literal();
    // An atom; what stands in brackets belongs to it: BODY[HEADER.FIELDS (FROM TO)]<0.100>.
    return this.#match(/((?:\[[^\]\r\n]*\]|[!#-'*-Z\\^-z|-~])+)/y);
  }

  #list(depth: number): Value[] {
    if (depth > NESTING) throw new SyntaxFault('Too deep');
    this.#at++;
    const values = this.values(depth);
    if (this.atEnd) throw new SyntaxFault('Unbalanced parentheses');
    this.#at++;
    return values;
  }

  #literal(): string {
    const size = Number(this.#match(/\{(\d{1,9})\+?\}\r\n/y));
    this.#at += size;
    return this.#input.slice(this.#at - size, this.#at);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#input);
    if (!match) throw new SyntaxFault('Not an argument');
    this.#at = pattern.lastIndex;
    return match[1] ?? '';
  }
}

/** RFC 9051 sequence-set: `2,4:7,9:*`. `*` is `largest`. @throws {SyntaxFault} */
export function parseSet(set: string, largest: number): (number: number) => boolean {
  const ranges = set.split(',').map((range) => {
    const match = /^(\d{1,10}|\*)(?::(\d{1,10}|\*))?$/.exec(range);
    if (!match) throw new SyntaxFault('Not a set of numbers');
    const ends = [match[1], match[2] ?? match[1]].map((end) => (end === '*' ? largest : Number(end)));
    return { from: Math.min(...ends), to: Math.max(...ends) };
  });
  return (number) => ranges.some(({ from, to }) => number >= from && number <= to);
}
