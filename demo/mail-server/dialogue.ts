import type { Protocol } from '../../sidecar-auth/failure.ts';
import type { Connection } from './connection.ts';
import { COMMAND_LINE } from './limits.ts';
import type { Mechanism } from './sasl.ts';
import type { Store } from './store.ts';

export interface Login {
  protocol: Protocol;
  user: string;
  /** SASL name, or the command where it was none: `LOGIN` (IMAP, or SASL LOGIN), `USER` (POP3). */
  mechanism: string;
  tls: boolean;
}

/** What a dialogue may use of the server. */
export interface Server {
  /** Its name in greetings. */
  name: string;
  store: Store;
  mechanisms: readonly Mechanism[];
  /** Checks a password, or an access token where the mechanism is one for tokens, and records a login that succeeded. */
  logIn(login: Login, secret: string): Promise<boolean>;
}

/** One protocol's side of a connection. Replies are latin1 text with their CRLF. */
export interface Dialogue {
  protocol: Protocol;
  greeting: string;
  lineTooLong: string;
  /** Set once the reply to come is the last one. */
  ended: boolean;
  command(line: string): Promise<string>;
}

/** Greets, then answers line by line until the dialogue or the connection ends. */
export async function converse(connection: Connection, dialogue: Dialogue): Promise<void> {
  await connection.send(dialogue.greeting);
  while (!dialogue.ended) {
    const line = await connection.line(COMMAND_LINE[dialogue.protocol]);
    await connection.send(line.tooLong ? dialogue.lineTooLong : await dialogue.command(line.text));
  }
}

/** Splits `verb argument` at the first space; the verb in upper case, as verbs are case-insensitive. */
export function splitVerb(line: string): { verb: string; argument: string } {
  const space = line.indexOf(' ');
  if (space < 0) return { verb: line.toUpperCase(), argument: '' };
  return { verb: line.slice(0, space).toUpperCase(), argument: line.slice(space + 1).trim() };
}

/** Text that came as one character an octet. */
export function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
