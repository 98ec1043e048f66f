/** What can fail, for the whole project: filter, sidecar-auth, logs, metrics and docs/errors.md use these codes. */
export type FailureCode =
  | 'unknown_destination'
  | 'token'
  | 'resolve'
  | 'connect'
  | 'tls'
  | 'socks'
  | 'server_greeting'
  | 'mechanism'
  | 'rejected'
  | 'server_unavailable'
  | 'protocol'
  | 'limit'
  | 'app_login'
  | 'internal';

export type Protocol = 'smtp' | 'imap' | 'pop3';

/** A failure on the way to the mail server. `text` is for people: one line, no secret. */
export class Failure extends Error {
  readonly code: FailureCode;
  /** Whether trying again without a change of configuration can help. */
  readonly retry: boolean;

  constructor(code: FailureCode, text: string, options: { retry?: boolean; cause?: unknown } = {}) {
    super(text, { cause: options.cause });
    this.name = 'Failure';
    this.code = code;
    this.retry = options.retry ?? code !== 'unknown_destination';
  }
}

/** RFC 3463 status (class left out) of a failure that is told in place of a greeting. */
const STATUS: Partial<Record<FailureCode, string>> = {
  unknown_destination: '3.5',
  token: '7.0',
  resolve: '4.3',
  connect: '4.1',
  tls: '7.5',
  socks: '4.1',
};

/** Octets of text that a reply line may carry, so that it stays below RFC 5321's 512 with everything around it. */
const TEXT_LIMIT = 300;

/** Printable ASCII only: text of other programs ends up in a protocol line. */
export function clean(text: string, limit = TEXT_LIMIT): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, limit);
}

/** The reply that stands in place of the server's greeting: RFC 5321 4.2.1, RFC 9051 7.1.5 with RFC 5530, RFC 1939 3 with RFC 3206. */
export function greetingReply(protocol: Protocol, destination: string, failure: Failure): string {
  const text = clean(`postern: ${destination}: ${failure.code}: ${failure.message}`);
  if (protocol === 'imap') return `* BYE [${failure.retry ? 'UNAVAILABLE' : 'CONTACTADMIN'}] ${text}\r\n`;
  if (protocol === 'pop3') return `-ERR [SYS/${failure.retry ? 'TEMP' : 'PERM'}] ${text}\r\n`;
  const status = STATUS[failure.code] ?? '3.0';
  return failure.retry ? `421 4.${status} ${text}\r\n` : `554 5.${status} ${text}\r\n`;
}
