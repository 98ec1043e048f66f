/** Of every empty run; there is no byte in it that could be changed. */
const NO_DATA: ArrayBuffer = new ArrayBuffer(0);

/** What stands in it is forgotten, but the memory of a short run is used again. */
const SHORT: i32 = 512;

/**
 * A run of bytes that grows at its end and shrinks at its front.
 *
 * No method can trap: a read outside gives -1, a range is cut to what is there. AssemblyScript's own arrays throw
 * instead, and one throw ends every session of the VM.
 */
export class Bytes {
  private data: ArrayBuffer = NO_DATA;
  private start: i32 = 0;
  private end: i32 = 0;

  static of(text: string): Bytes {
    return new Bytes().text(text);
  }

  get length(): i32 {
    return this.end - this.start;
  }

  /** Address of the first byte, for the host; valid until the next change. */
  get address(): usize {
    return changetype<usize>(this.data) + this.start;
  }

  at(index: i32): i32 {
    if (index < 0 || index >= this.length) return -1;
    return load<u8>(this.address + index);
  }

  push(byte: i32): Bytes {
    this.reserve(1);
    store<u8>(changetype<usize>(this.data) + this.end, <u8>byte);
    this.end += 1;
    return this;
  }

  append(other: Bytes): Bytes {
    return this.appendRange(other, 0, other.length);
  }

  appendRange(other: Bytes, from: i32, to: i32): Bytes {
    const first = from < 0 ? 0 : from;
    const last = to > other.length ? other.length : to;
    if (last <= first) return this;
    this.reserve(last - first);
    memory.copy(changetype<usize>(this.data) + this.end, other.address + first, last - first);
    this.end += last - first;
    return this;
  }

  /** Bytes at an address of the VM's own memory, such as a buffer that the host filled. */
  appendMemory(address: usize, length: i32): Bytes {
    if (length <= 0) return this;
    this.reserve(length);
    memory.copy(changetype<usize>(this.data) + this.end, address, length);
    this.end += length;
    return this;
  }

  /** ASCII text; anything else is written as '?'. */
  text(text: string): Bytes {
    this.reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      store<u8>(changetype<usize>(this.data) + this.end + i, <u8>(code < 0x80 ? code : 0x3f));
    }
    this.end += text.length;
    return this;
  }

  slice(from: i32, to: i32): Bytes {
    return new Bytes().appendRange(this, from, to);
  }

  drop(count: i32): void {
    this.start += count > this.length ? this.length : count < 0 ? 0 : count;
    if (this.start == this.end) this.clear();
  }

  /** Forgets the bytes, and the memory of more than a few. */
  clear(): void {
    if (this.data.byteLength > SHORT) this.data = NO_DATA;
    this.start = 0;
    this.end = 0;
  }

  indexOf(byte: i32, from: i32 = 0): i32 {
    for (let i = from < 0 ? 0 : from; i < this.length; i++) {
      if (<i32>load<u8>(this.address + i) == byte) return i;
    }
    return -1;
  }

  same(other: Bytes): bool {
    return this.length == other.length && memory.compare(this.address, other.address, this.length) == 0;
  }

  /** False for an empty `part`. */
  contains(part: Bytes): bool {
    for (let i = this.indexOf(part.at(0)); i >= 0; i = this.indexOf(part.at(0), i + 1)) {
      if (this.slice(i, i + part.length).same(part)) return true;
    }
    return false;
  }

  equals(text: string): bool {
    return this.length == text.length && this.startsWith(text);
  }

  startsWith(text: string): bool {
    return this.hasAt(0, text, false);
  }

  /** ASCII case does not count. */
  is(text: string): bool {
    return this.length == text.length && this.hasAt(0, text, true);
  }

  /** ASCII case does not count. */
  begins(text: string): bool {
    return this.hasAt(0, text, true);
  }

  /** ASCII case does not count. */
  ends(text: string): bool {
    return this.hasAt(this.length - text.length, text, true);
  }

  /** Latin-1 view, for error texts only. */
  toString(): string {
    // Character by character it would be quadratic, and a hostile server would have 400 ms of a worker per connection.
    const text = changetype<string>(__new((<usize>this.length) << 1, idof<string>()));
    for (let i = 0; i < this.length; i++) store<u16>(changetype<usize>(text) + ((<usize>i) << 1), <u16>this.at(i));
    return text;
  }

  private hasAt(index: i32, text: string, anyCase: bool): bool {
    if (index < 0 || index + text.length > this.length) return false;
    for (let i = 0; i < text.length; i++) {
      const own = this.at(index + i);
      const wanted = text.charCodeAt(i);
      if (own != wanted && !(anyCase && lower(own) == lower(wanted))) return false;
    }
    return true;
  }

  private reserve(more: i32): void {
    if (this.end + more <= this.data.byteLength) return;
    const length = this.length;
    const needed = length + more;
    // The first bytes are often the only ones; what grows will grow on.
    const room = length == 0 ? needed : needed + (needed >> 1);
    const bigger = new ArrayBuffer(room < 64 ? 64 : room);
    memory.copy(changetype<usize>(bigger), this.address, length);
    this.data = bigger;
    this.start = 0;
    this.end = length;
  }
}

export function lower(byte: i32): i32 {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
