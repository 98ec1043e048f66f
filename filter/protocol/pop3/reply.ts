import { Bytes } from '../bytes';

/** What the server says with a line (RFC 1939 section 3, RFC 5034 section 4). */
export enum Status {
  /** no status line at all */
  none,
  ok,
  err,
  /** "+ challenge" within AUTH; some servers leave the space out */
  challenge,
}

/** The one line of a reply, or the first of several. */
export class ReplyLine {
  readonly status: Status;

  constructor(readonly line: Bytes) {
    this.status = statusOf(line);
  }

  /** The response code of a refusal (RFC 2449 section 8), without its brackets, or nothing. */
  get code(): Bytes {
    const end = this.line.indexOf(0x5d);
    return this.line.begins('-ERR [') ? this.line.slice(6, end) : new Bytes();
  }
}

function statusOf(line: Bytes): Status {
  if (line.is('+OK') || line.begins('+OK ')) return Status.ok;
  if (line.is('-ERR') || line.begins('-ERR ')) return Status.err;
  if (line.equals('+') || line.startsWith('+ ')) return Status.challenge;
  return Status.none;
}

/**
 * The greeting without the timestamp of APOP (RFC 1939 section 7), which an app would try to use: it has no password that
 * the server knows. Clients take anything between angle brackets for it.
 */
export function withoutTimestamp(greeting: Bytes): Bytes {
  const first = greeting.indexOf(0x3c);
  let last = -1;
  for (let i = greeting.indexOf(0x3e, first); i >= 0; i = greeting.indexOf(0x3e, i + 1)) last = i;
  if (first < 0 || last < 0) return greeting;
  const before = greeting.at(first - 1) == 0x20 ? first - 1 : first;
  return greeting.slice(0, before).appendRange(greeting, last + 1, greeting.length);
}
