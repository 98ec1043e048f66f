import { Bytes, lower } from '../bytes';
import { BEARER_TOKEN, BEARER_USER } from '../limits';

/** The user that an app names, and what it presents for them: a refresh token or an authorization code. */
export class Bearer {
  constructor(
    readonly user: Bytes,
    readonly token: Bytes,
  ) {}
}

const SEPARATOR: i32 = 0x01;

/** `user=USER ^A auth=Bearer TOKEN ^A ^A` (developers.google.com/gmail/imap/xoauth2-protocol), or null. */
export function bearerOfXoauth2(response: Bytes): Bearer | null {
  const end = response.indexOf(SEPARATOR);
  const last = response.indexOf(SEPARATOR, end + 1);
  if (!response.startsWith('user=') || last < 0 || !endsIn(response, last)) return null;
  return checked(response.slice(5, end), tokenOf(response.slice(end + 1, last)));
}

/**
 * `n,a=USER, ^A key=value ^A ... ^A` with one `auth=Bearer TOKEN` (RFC 7628 section 3.1), or null. RFC 7628 can do without the user, sidecar-auth
 * can't: it is who logs in.
 */
export function bearerOfOauthbearer(response: Bytes): Bearer | null {
  const end = response.indexOf(SEPARATOR);
  const user = authzidOf(response.slice(0, end));
  let token: Bytes | null = null;
  let start = end + 1;
  for (let next = response.indexOf(SEPARATOR, start); next > start; next = response.indexOf(SEPARATOR, start)) {
    const pair = response.slice(start, next);
    start = next + 1;
    if (!pair.begins('auth=')) continue;
    if (token != null) return null;
    token = tokenOf(pair);
  }
  return end >= 0 && endsIn(response, start - 1) ? checked(user, token) : null;
}

/** The separator at `last` is followed by the one that ends the response, and by nothing else. */
function endsIn(response: Bytes, last: i32): bool {
  return response.at(last + 1) == SEPARATOR && response.length == last + 2;
}

/** RFC 5801 section 4: no channel binding ("n" or "y"), and the user, in which "," and "=" are written =2C and =3D. */
function authzidOf(header: Bytes): Bytes {
  const user = new Bytes();
  const last = header.length - 1;
  if (!(header.startsWith('n,a=') || header.startsWith('y,a=')) || header.indexOf(0x2c, 2) != last) return user;
  for (let i = 4; i < last; i++) {
    if (header.at(i) != 0x3d) {
      user.push(header.at(i));
      continue;
    }
    const isComma = header.at(i + 1) == 0x32 && lower(header.at(i + 2)) == 0x63;
    const isEquals = header.at(i + 1) == 0x33 && lower(header.at(i + 2)) == 0x64;
    if (!isComma && !isEquals) return new Bytes();
    user.push(isComma ? 0x2c : 0x3d);
    i += 2;
  }
  return user;
}

function tokenOf(pair: Bytes): Bytes | null {
  return pair.begins('auth=Bearer ') ? pair.slice(12, pair.length) : null;
}

/** A user without control characters, in whatever script; a token of printable ASCII (RFC 6749 A.11 and A.17: VSCHAR). */
function checked(user: Bytes, token: Bytes | null): Bearer | null {
  if (token == null || token.length == 0 || token.length > BEARER_TOKEN) return null;
  if (user.length == 0 || user.length > BEARER_USER) return null;
  if (!isClear(user, 0xff) || !isClear(token, 0x7e)) return null;
  return new Bearer(user, token);
}

function isClear(value: Bytes, highest: i32): bool {
  for (let i = 0; i < value.length; i++) {
    const byte = value.at(i);
    if (byte < 0x20 || byte == 0x7f || byte > highest) return false;
  }
  return true;
}
