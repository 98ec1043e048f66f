import { Failure } from '../../failure.ts';

/** What follows from one line of the server: read on, send a command (ended by CRLF), or begin TLS. */
export type Action = { do: 'wait' } | { do: 'send'; command: string } | { do: 'tls' };

export const WAIT: Action = { do: 'wait' };
export const BEGIN_TLS: Action = { do: 'tls' };

export function send(line: string): Action {
  return { do: 'send', command: `${line}\r\n` };
}

/**
 * One protocol's way from the greeting to TLS. No text here repeats the server's: whoever sits on the line can write it (CVE-2021-33515
 * and its like), and it would be taken for ours.
 */
export interface Dialogue {
  /** One line of the server, latin1, without CRLF. Throws a Failure where it does not lead to TLS. */
  onLine(line: string): Action;
}

/** Why no step goes on in clear: whoever removes the offer from the server's answer wants just that. */
export function notOffered(keyword: string): Failure {
  return new Failure('tls', `the server does not offer ${keyword}, and nothing is sent to it in clear`);
}

export function refused(keyword: string): Failure {
  return new Failure('tls', `the server refused ${keyword}, and nothing is sent to it in clear`);
}

export function unexpected(command: string): Failure {
  return new Failure('tls', `the server gave an unexpected answer to ${command}`);
}

export function unavailable(when: string): Failure {
  return new Failure('server_unavailable', `the server said ${when} that it is not available`);
}

export function noGreeting(protocol: string): Failure {
  return new Failure('server_greeting', `the server did not greet in ${protocol}`);
}
