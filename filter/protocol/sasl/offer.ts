import { Bytes } from '../bytes';
import { Terms } from '../terms';
import { Mechanism, mechanismName } from './client';

/** The mechanisms that a server offers, as far as we know them. */
export class Offer {
  private plain: bool = false;
  private login: bool = false;
  private xoauth2: bool = false;
  private oauthbearer: bool = false;

  add(name: Bytes): void {
    if (name.is('PLAIN')) this.plain = true;
    else if (name.is('LOGIN')) this.login = true;
    else if (name.is('XOAUTH2')) this.xoauth2 = true;
    else if (name.is('OAUTHBEARER')) this.oauthbearer = true;
  }

  /** The best that the destination's login can use and the destination allows. A token never goes out as a password. */
  best(terms: Terms): Mechanism {
    if (terms.byToken) {
      if (this.xoauth2 && allowed(terms, Mechanism.xoauth2)) return Mechanism.xoauth2;
      return this.oauthbearer && allowed(terms, Mechanism.oauthbearer) ? Mechanism.oauthbearer : Mechanism.none;
    }
    if (this.plain && allowed(terms, Mechanism.plain)) return Mechanism.plain;
    return this.login && allowed(terms, Mechanism.login) ? Mechanism.login : Mechanism.none;
  }
}

function allowed(terms: Terms, mechanism: Mechanism): bool {
  return terms.allows(mechanismName(mechanism));
}
