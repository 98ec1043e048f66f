import { Bytes } from '../bytes';

/** One line of the server (RFC 9051 section 7): untagged, a continuation request, or tagged. */
export class Response {
  /** `*`, `+`, or the tag of the command that is answered; empty where the line is no response. */
  readonly tag: Bytes;
  /** OK, NO, BAD, BYE, PREAUTH, or the kind of untagged data. */
  readonly name: Bytes;
  /** The response code without its brackets (section 7.1), or -1 and -1. */
  readonly codeStart: i32;
  readonly codeEnd: i32;

  constructor(readonly line: Bytes) {
    // Yandex and others send a "+" without the space that section 7.6 wants.
    const tagEnd = line.at(0) == 0x2b ? 1 : line.indexOf(0x20);
    const space = line.indexOf(0x20, tagEnd + 1);
    const nameEnd = space < 0 ? line.length : space;
    this.tag = line.slice(0, tagEnd);
    this.name = tagEnd < 0 ? new Bytes() : line.slice(tagEnd + 1, nameEnd);
    const close = line.at(nameEnd + 1) == 0x5b ? line.indexOf(0x5d, nameEnd + 2) : -1;
    this.codeStart = close < 0 ? -1 : nameEnd + 2;
    this.codeEnd = close;
  }

  get untagged(): bool {
    return this.tag.equals('*');
  }

  get continuation(): bool {
    return this.tag.equals('+');
  }

  /** Untagged data, which may hold literals; the text of a status response can't, whatever it ends in. */
  get isData(): bool {
    return this.untagged && !this.isStatus;
  }

  private get isStatus(): bool {
    const name = this.name;
    return name.is('OK') || name.is('NO') || name.is('BAD') || name.is('BYE') || name.is('PREAUTH');
  }

  /** Empty where there is none. */
  get code(): Bytes {
    return this.line.slice(this.codeStart, this.codeEnd);
  }

  /** Without the tag, for error texts. */
  get text(): Bytes {
    return this.untagged ? this.line : this.line.slice(this.tag.length + 1, this.line.length);
  }
}
