import { Bytes } from './bytes';

function sextet(byte: i32): i32 {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  if (byte == 0x2b) return 62;
  if (byte == 0x2f) return 63;
  return -1;
}

function paddingOf(text: Bytes): i32 {
  if (text.at(text.length - 1) != 0x3d) return 0;
  return text.at(text.length - 2) == 0x3d ? 2 : 1;
}

/** RFC 4648 section 4, with padding; null for anything else. */
export function decode(text: Bytes): Bytes | null {
  if (text.length % 4 != 0) return null;
  const digits = text.length - paddingOf(text);
  const bytes = new Bytes();
  let bits: i32 = 0;
  let held: i32 = 0;
  for (let i = 0; i < digits; i++) {
    const value = sextet(text.at(i));
    if (value < 0) return null;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push((bits >> held) & 0xff);
  }
  return bytes;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** RFC 4648 section 4, with padding. */
export function encode(bytes: Bytes): Bytes {
  const text = new Bytes();
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (bytes.at(i) << 16) | ((left > 1 ? bytes.at(i + 1) : 0) << 8) | (left > 2 ? bytes.at(i + 2) : 0);
    text.push(ALPHABET.charCodeAt((group >> 18) & 63)).push(ALPHABET.charCodeAt((group >> 12) & 63));
    text.push(left > 1 ? ALPHABET.charCodeAt((group >> 6) & 63) : 0x3d);
    text.push(left > 2 ? ALPHABET.charCodeAt(group & 63) : 0x3d);
  }
  return text;
}
