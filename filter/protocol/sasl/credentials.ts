import { Bytes } from '../bytes';

/** What the login at the server is done with. Of the base64 forms, as SASL exchanges want them, the mechanism at hand needs one or two. */
export class Credentials {
  user: Bytes = new Bytes();
  password: Bytes = new Bytes();
  user64: Bytes = new Bytes();
  password64: Bytes = new Bytes();
  /** The initial responses, ready-made by sidecar-auth. */
  plain64: Bytes = new Bytes();
  xoauth264: Bytes = new Bytes();
  oauthbearer64: Bytes = new Bytes();
  /** The token in them. */
  token: Bytes = new Bytes();
  /** sidecar-auth's name for the token, for a rejection. */
  grant: Bytes = new Bytes();

  /** Whether a server's line repeats a secret that it was sent, as some do with a command that they do not know. */
  isRepeatedIn(line: Bytes): bool {
    if (line.contains(this.password) || line.contains(this.password64) || line.contains(this.plain64)) return true;
    return isRepeated(this.xoauth264, line) || isRepeated(this.oauthbearer64, line) || isRepeated(this.token, line);
  }
}

/** Octets of a token by which it is known: a server that repeats a line may cut it. */
const KNOWN_BY: i32 = 32;

/** Whether a line repeats this token, or the beginning of it. */
export function isRepeated(token: Bytes, line: Bytes): bool {
  return line.contains(token.slice(0, KNOWN_BY));
}
