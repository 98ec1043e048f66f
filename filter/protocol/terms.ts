import { Bytes } from './bytes';

/**
 * What one connection is held to: the login at the server and what the app must present. From sidecar-auth
 * (docs/contract.md, POST /v1/sessions).
 */
export class Terms {
  /** For error texts. */
  destination: string = '';
  /** Whether there is a login at all (NoAuthentication: false). */
  login: bool = false;
  user: Bytes = new Bytes();
  password: Bytes = new Bytes();
  /** The three of them in base64, as SASL exchanges want them. */
  user64: Bytes = new Bytes();
  password64: Bytes = new Bytes();
  plain64: Bytes = new Bytes();
  /** The name for an EHLO of our own. */
  hello: Bytes = new Bytes();
  /** What the app must log in with, or null where it need not. */
  appUser: Bytes | null = null;
  appPassword: Bytes | null = null;
  /** IMAP: greet the app with PREAUTH. */
  preauth: bool = false;

  get demandsLogin(): bool {
    return this.appUser != null;
  }

  /** Whether a server's line repeats a secret that it was sent, as some do with a command that they do not know. */
  isRepeatedIn(line: Bytes): bool {
    return line.contains(this.password) || line.contains(this.password64) || line.contains(this.plain64);
  }

  /** Whether this is the login that the listener demands; the time does not tell how much of it was right. */
  accepts(user: Bytes, password: Bytes): bool {
    const wantedUser = this.appUser;
    const wantedPassword = this.appPassword;
    if (wantedUser == null || wantedPassword == null) return true;
    const sameUser = same(user, wantedUser);
    const samePassword = same(password, wantedPassword);
    return sameUser && samePassword;
  }
}

/** Looks at every byte of what was presented, whatever the wanted value is. */
function same(presented: Bytes, wanted: Bytes): bool {
  let difference = presented.length ^ wanted.length;
  for (let i = 0; i < presented.length; i++) {
    difference |= presented.at(i) ^ (wanted.length > 0 ? wanted.at(i % wanted.length) : -1);
  }
  return difference == 0;
}
