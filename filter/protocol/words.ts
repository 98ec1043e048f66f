import { Bytes } from './bytes';

/** The space-separated words of a line; runs of spaces count as one. */
export function wordsOf(line: Bytes): Bytes[] {
  const words: Bytes[] = [];
  let start = 0;
  for (let i = 0; i <= line.length; i++) {
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
