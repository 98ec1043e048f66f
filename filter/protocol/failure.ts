import { Bytes } from './bytes';

/** The project's failure codes (docs/errors.md), in the order of the phases. */
export enum Failure {
  none,
  unknown_destination,
  token,
  resolve,
  connect,
  tls,
  socks,
  server_greeting,
  mechanism,
  rejected,
  server_unavailable,
  protocol,
  limit,
  app_login,
  internal,
}

const NAMES: string[] = [
  'none',
  'unknown_destination',
  'token',
  'resolve',
  'connect',
  'tls',
  'socks',
  'server_greeting',
  'mechanism',
  'rejected',
  'server_unavailable',
  'protocol',
  'limit',
  'app_login',
  'internal',
];

export function nameOf(failure: Failure): string {
  return failure >= 0 && failure < NAMES.length ? NAMES[failure] : 'internal';
}

/** A code that this filter does not know is `internal`. */
export function failureOf(name: Bytes): Failure {
  for (let i = 1; i < NAMES.length; i++) {
    if (name.equals(NAMES[i])) return i;
  }
  return Failure.internal;
}

/** None for a name that is not among them. */
export function knownFailure(name: string): Failure {
  for (let i = 1; i < NAMES.length; i++) {
    if (NAMES[i] == name) return i;
  }
  return Failure.none;
}

/** Whether trying again without a change of configuration can help. */
export function retryHelps(failure: Failure): bool {
  switch (failure) {
    case Failure.unknown_destination:
    case Failure.mechanism:
    case Failure.rejected:
    case Failure.app_login:
      return false;
    default:
      return true;
  }
}

/** Printable ASCII only, cut to `limit`: text of others ends up in a protocol line. */
export function clean(text: string, limit: i32): string {
  let result = '';
  for (let i = 0; i < text.length && result.length < limit; i++) {
    const code = text.charCodeAt(i);
    result += code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : ' ';
  }
  return result.trim();
}
