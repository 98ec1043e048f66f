import { Bytes } from '../bytes';

/** One line of a reply (RFC 5321 4.2): three digits, then "-" where more lines follow. */
export class ReplyLine {
  /** 0 where the line is no reply line. */
  readonly code: i32;
  readonly last: bool;

  constructor(readonly line: Bytes) {
    this.code = codeOf(line);
    this.last = line.at(3) != 0x2d;
  }

  get text(): Bytes {
    return this.line.slice(4, this.line.length);
  }

  /** 2 for success, 3 for "go on", 4 for a transient and 5 for a permanent refusal. */
  get kind(): i32 {
    return this.code / 100;
  }
}

function codeOf(line: Bytes): i32 {
  const after = line.at(3);
  if (after != -1 && after != 0x20 && after != 0x2d) return 0;
  let code: i32 = 0;
  for (let i = 0; i < 3; i++) {
    const digit = line.at(i) - 0x30;
    if (digit < 0 || digit > 9) return 0;
    code = code * 10 + digit;
  }
  return code >= 200 && code < 600 ? code : 0;
}
