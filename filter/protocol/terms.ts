import { Bytes } from './bytes';
import { Credentials } from './sasl/credentials';

/** How we log in at the server. */
export enum Login {
  /** NoAuthentication */
  none,
  /** by user and password */
  basic,
  /** by a token that is ready */
  bearer,
  /** by a token that sidecar-auth gets for what the app brings */
  exchange,
}

/** What a server can do, as one of the protocols reads it. */
export class ServerCapability {}

/**
 * What one connection is held to: the login at the server and what the app must present. From sidecar-auth
 * (docs/contract.md, POST /v1/sessions).
 */
export class Terms {
  /** For error texts. */
  destination: string = '';
  login: Login = Login.none;
  /** Nothing for Login.exchange: the app's own come later. */
  credentials: Credentials = new Credentials();
  /** What an app may bring by XOAUTH2 or OAUTHBEARER, in words: "a refresh token"; empty: nothing. */
  brings: string = '';
  /** The only mechanisms that may be used at the server, or null where the destination doesn't care. */
  mechanisms: Bytes[] | null = null;
  /** The server answers alike on every connection, before the login: what led to a login once is not asked for again. */
  remembers: bool = true;
  /** What led to the last login by these terms, which many connections share. */
  remembered: ServerCapability | null = null;
  /** The name for an EHLO of our own. */
  hello: Bytes = new Bytes();
  /** The relay of sidecar-auth answers first, and may say an error of its own in place of a greeting. */
  relay: bool = false;
  /** What the app must log in with, or null where it need not. */
  appUser: Bytes | null = null;
  appPassword: Bytes | null = null;
  /** IMAP: greet the app with PREAUTH. */
  preauth: bool = false;

  /** An app that has not logged in gets nowhere. */
  get demandsLogin(): bool {
    return this.wantsPassword || this.login == Login.exchange;
  }

  /** The listener has a user and password of its own for apps. */
  get wantsPassword(): bool {
    return this.appUser != null;
  }

  /** An app may log in by user and password, if only for show. */
  get takesPassword(): bool {
    return this.login != Login.exchange;
  }

  /** The login at the server is one by token. */
  get byToken(): bool {
    return this.login == Login.bearer || this.login == Login.exchange;
  }

  /** What the app is told that it can log in by: mechanisms, space-separated. Passwords first, for most have nothing else. */
  get offered(): string {
    if (this.brings == '') return 'PLAIN LOGIN';
    return this.takesPassword ? 'PLAIN LOGIN XOAUTH2 OAUTHBEARER' : 'XOAUTH2 OAUTHBEARER';
  }

  /** For the error where a server offers nothing that may be used. */
  get restriction(): string {
    return this.mechanisms == null ? '' : ', or the destination does not allow it';
  }

  /** Whether the destination allows this mechanism at the server. */
  allows(mechanism: string): bool {
    const mechanisms = this.mechanisms;
    if (mechanisms == null) return true;
    for (let i = 0; i < mechanisms.length; i++) {
      if (mechanisms[i].is(mechanism)) return true;
    }
    return false;
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
