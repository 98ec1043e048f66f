import { Bytes } from '../bytes';
import { Credentials } from './credentials';

/** The mechanisms that we can use at a server. */
export enum Mechanism {
  none,
  /** RFC 4616 */
  plain,
  /** draft-murchison-sasl-login: two challenges, user and password */
  login,
  /** Google's and Microsoft's own: developers.google.com/gmail/imap/xoauth2-protocol */
  xoauth2,
  /** RFC 7628 */
  oauthbearer,
  /** Not SASL: IMAP's LOGIN (RFC 9051 section 6.2.3), POP3's USER and PASS (RFC 1939 section 7) */
  command,
}

export function mechanismName(mechanism: Mechanism): string {
  switch (mechanism) {
    case Mechanism.plain:
      return 'PLAIN';
    case Mechanism.login:
      return 'LOGIN';
    case Mechanism.xoauth2:
      return 'XOAUTH2';
    case Mechanism.oauthbearer:
      return 'OAUTHBEARER';
    default:
      return '';
  }
}

/** Our side of a SASL exchange with the server (RFC 4422 section 3). All values are base64, as on the wire. */
export class SaslClient {
  private answered: i32 = 0;

  constructor(
    readonly mechanism: Mechanism,
    private readonly credentials: Credentials,
  ) {}

  /** The initial response, or null for a mechanism where the server speaks first. */
  get initialResponse(): Bytes | null {
    switch (this.mechanism) {
      case Mechanism.plain:
        return this.credentials.plain64;
      case Mechanism.xoauth2:
        return this.credentials.xoauth264;
      case Mechanism.oauthbearer:
        return this.credentials.oauthbearer64;
      default:
        return null;
    }
  }

  /** The answer to the server's next challenge, or null where there is nothing more to say. */
  next(): Bytes | null {
    const step = this.answered;
    this.answered += 1;
    if (this.mechanism == Mechanism.login) return this.loginResponse(step);
    if (step == 0) return this.initialResponse;
    return step == 1 ? this.failureResponse : null;
  }

  /** The initial response went out with the command: there is no challenge for it. */
  sentInitialResponse(): void {
    this.answered += 1;
  }

  private loginResponse(step: i32): Bytes | null {
    if (step == 0) return this.credentials.user64;
    return step == 1 ? this.credentials.password64 : null;
  }

  /** A refused token is told in one more challenge, in JSON, and the error comes when that is answered. */
  private get failureResponse(): Bytes | null {
    if (this.mechanism == Mechanism.xoauth2) return new Bytes();
    // RFC 7628 section 3.2.3: a single %x01.
    return this.mechanism == Mechanism.oauthbearer ? Bytes.of('AQ==') : null;
  }
}
