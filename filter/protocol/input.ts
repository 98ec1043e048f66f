import { Bytes } from './bytes';

export enum Problem {
  none,
  /** More octets without a line's end than the limit. */
  tooLong,
  /** The line ends in LF alone. Whoever takes that reads other lines than its peer does (SMTP smuggling). */
  bareLf,
}

/** What one side sent and nobody has taken: read line by line, each ended by CRLF, and in IMAP literal by literal. */
export class Input {
  /** So many octets come next that are no line, whatever they hold; -1: none. */
  literal: i32 = -1;
  /** Why `line` is null, where it is not that the line is not whole yet. */
  problem: Problem = Problem.none;
  private readonly held: Bytes = new Bytes();
  private scanned: i32 = 0;
  private lineEnd: i32 = 0;

  constructor(private readonly lineLimit: i32) {}

  get length(): i32 {
    return this.held.length;
  }

  /** The next byte, or -1. */
  get first(): i32 {
    return this.held.at(0);
  }

  append(bytes: Bytes): void {
    this.held.append(bytes);
  }

  /** The next line without its CRLF; it stays until `take`. */
  line(): Bytes | null {
    const end = this.held.indexOf(0x0a, this.scanned);
    this.scanned = end < 0 ? this.held.length : end;
    if (this.scanned > this.lineLimit) this.problem = Problem.tooLong;
    else if (end >= 0 && this.held.at(end - 1) != 0x0d) this.problem = Problem.bareLf;
    if (end < 0 || this.problem != Problem.none) return null;
    this.lineEnd = end + 1;
    return this.held.slice(0, end - 1);
  }

  /** Takes the line that `line` showed; a second time it takes nothing. */
  take(): void {
    this.held.drop(this.lineEnd);
    this.lineEnd = 0;
    this.scanned = 0;
  }

  /** Takes the literal that is due, once it is whole. */
  takeLiteral(): Bytes | null {
    if (this.literal < 0 || this.held.length < this.literal) return null;
    const octets = this.held.slice(0, this.literal);
    this.held.drop(this.literal);
    this.literal = -1;
    return octets;
  }

  /** Takes everything. */
  moveTo(target: Bytes): void {
    target.append(this.held);
    this.clear();
  }

  clear(): void {
    this.held.clear();
    this.lineEnd = 0;
    this.scanned = 0;
  }
}
