import { Bytes } from './bytes';

/** Words of a line that are looked at. Capability lists have up to some sixty; a line of 40 KiB could have 20,000, each an object. */
const MOST_WORDS: i32 = 128;

/** The first 128 space-separated words of a line; runs of spaces count as one. */
export function wordsOf(line: Bytes): Bytes[] {
  const words: Bytes[] = [];
  let start = 0;
  for (let i = 0; i <= line.length && words.length < MOST_WORDS; i++) {
    const byte = line.at(i);
    if (byte != 0x20 && byte != -1) continue;
    if (i > start) words.push(line.slice(start, i));
    start = i + 1;
  }
  return words;
}

/** The word at `index`, or an empty one. */
export function wordAt(words: Bytes[], index: i32): Bytes {
  return index >= 0 && index < words.length ? words[index] : new Bytes();
}
