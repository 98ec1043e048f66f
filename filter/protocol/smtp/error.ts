import { Failure } from '../failure';

/** The reply code and enhanced status of a failure (RFC 5321 4.2.2, RFC 3463, RFC 4954 section 6). */
export function codeOf(failure: Failure): string {
  switch (failure) {
    case Failure.unknown_destination:
      return '554 5.3.5';
    case Failure.token:
      return '454 4.7.0';
    case Failure.resolve:
      return '421 4.4.3';
    case Failure.connect:
    case Failure.socks:
      return '421 4.4.1';
    case Failure.tls:
      return '421 4.7.5';
    case Failure.mechanism:
      return '535 5.7.4';
    case Failure.rejected:
    case Failure.app_login:
      return '535 5.7.8';
    case Failure.protocol:
      return '421 4.5.0';
    case Failure.server_unavailable:
    case Failure.limit:
      return '421 4.3.2';
    default:
      return '421 4.3.0';
  }
}

/** In place of a greeting only 421 and 554 are understood (RFC 5321 4.3.2). */
export function greetingCodeOf(failure: Failure): string {
  const code = codeOf(failure);
  const status = code.slice(4);
  return code.startsWith('5') ? `554 ${status}` : `421 ${status}`;
}
