import { Bytes } from '../bytes';
import { Failure, retryHelps } from '../failure';

/** The response code of a failure: RFC 3206 has AUTH (the credentials), SYS/TEMP (may pass) and SYS/PERM (someone must act). */
export function codeOf(failure: Failure): string {
  if (failure == Failure.rejected || failure == Failure.app_login) return 'AUTH';
  return retryHelps(failure) ? 'SYS/TEMP' : 'SYS/PERM';
}

/**
 * The server's own code where it refuses a login that would be right at another time (RFC 2449 section 8.1, RFC 3206 section 4),
 * else nothing. It is passed on: clients wait and try again on IN-USE.
 */
export function transientCode(code: Bytes): string {
  if (code.is('SYS/TEMP')) return 'SYS/TEMP';
  if (code.is('IN-USE')) return 'IN-USE';
  if (code.is('LOGIN-DELAY')) return 'LOGIN-DELAY';
  return '';
}
