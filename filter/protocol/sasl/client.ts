import { Bytes } from '../bytes';
import { Terms } from '../terms';

/** The mechanisms that a destination of BasicAuthentication can use, best first. */
export enum Mechanism {
  none,
  /** RFC 4616 */
  plain,
  /** draft-murchison-sasl-login: two challenges, user and password */
  login,
}

export function mechanismName(mechanism: Mechanism): string {
  return mechanism == Mechanism.plain ? 'PLAIN' : 'LOGIN';
}

/** Our side of a SASL exchange with the server (RFC 4422 section 3). All values are base64, as on the wire. */
export class SaslClient {
  private answered: i32 = 0;

  constructor(
    readonly mechanism: Mechanism,
    private readonly terms: Terms,
  ) {}

  /** The initial response, or null for a mechanism where the server speaks first. */
  get initialResponse(): Bytes | null {
    return this.mechanism == Mechanism.plain ? this.terms.plain64 : null;
  }

  /** The answer to the server's next challenge, or null where there is nothing more to say. */
  next(): Bytes | null {
    const step = this.answered;
    this.answered += 1;
    if (this.mechanism == Mechanism.plain) return step == 0 ? this.terms.plain64 : null;
    if (step == 0) return this.terms.user64;
    return step == 1 ? this.terms.password64 : null;
  }

  /** The initial response went out with the command: there is no challenge for it. */
  sentInitialResponse(): void {
    this.answered += 1;
  }
}
