import { statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { Failure } from '../failure.ts';

/**
 * Changes when the file does. Kubernetes replaces mounted files by swapping links, which the inode shows. Throws a
 * Failure of code `token`.
 */
export function stamp(file: string): string {
  try {
    // Asked at each connection on-premise: a trip to another thread costs twenty times what the call itself does.
    const { mtimeNs, size, ino } = statSync(file, { bigint: true });
    return `${mtimeNs}:${size}:${ino}`;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** A small text file. Throws a Failure of code `token`, which never holds content. */
export async function readSmall(file: string, limit: number): Promise<string> {
  const { size } = await told(file, stat(file));
  if (size > limit)
    throw new Failure('token', `a file of the token source is larger than ${limit} octets`, { retry: false });
  return await told(file, readFile(file, 'utf8'));
}

/** Turns the error of a file operation into a Failure of code `token`. */
export async function told<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): Failure {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
  return new Failure('token', `the token source ${file} cannot be read (${code})`, { cause });
}
