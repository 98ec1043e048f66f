import { Bytes } from '../bytes';

/** The announcement of a literal that ends a line (RFC 9051 section 4.3, RFC 7888): `{12}`, or `{12+}` for one that waits for nothing. */
export class Literal {
  constructor(
    /** Index of the "{". */
    readonly start: i32,
    /** Octets; a count beyond i32 is i32.MAX_VALUE, which is beyond every limit. */
    readonly size: i32,
    /** The sender waits for our "+". */
    readonly synchronizing: bool,
  ) {}
}

/** The literal that follows this line, or null. */
export function literalOf(line: Bytes): Literal | null {
  const close = line.length - 1;
  if (line.at(close) != 0x7d) return null;
  const plus = line.at(close - 1) == 0x2b;
  const end = plus ? close - 1 : close;
  let start = end;
  while (isDigit(line.at(start - 1))) start--;
  if (start == end || line.at(start - 1) != 0x7b) return null;
  return new Literal(start - 1, numberIn(line, start, end), !plus);
}

function numberIn(line: Bytes, start: i32, end: i32): i32 {
  let number: i64 = 0;
  for (let i = start; i < end && number <= i32.MAX_VALUE; i++) number = number * 10 + line.at(i) - 0x30;
  return number > i32.MAX_VALUE ? i32.MAX_VALUE : <i32>number;
}

function isDigit(byte: i32): bool {
  return byte >= 0x30 && byte <= 0x39;
}
