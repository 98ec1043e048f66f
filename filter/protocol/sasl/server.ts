import { decode } from '../base64';
import { Bytes } from '../bytes';
import { APP_SECRET, BEARER_RESPONSE } from '../limits';
import { Terms } from '../terms';
import { Bearer, bearerOfOauthbearer, bearerOfXoauth2 } from './bearer';

export enum SaslState {
  /** The app owes the response to `challenge`. */
  challenge,
  /** The app has presented all there is; see `bearer`, `user` and `password`. */
  done,
  /** The app sent "*" (RFC 4422 section 3.5: abort). */
  cancelled,
  /** Not base64, too long, or not of the mechanism's form. */
  malformed,
  unknownMechanism,
}

/**
 * The app's side of an exchange that we answer ourselves. PLAIN and LOGIN tell user and password. XOAUTH2 and OAUTHBEARER tell what the app brings;
 * where it need bring nothing they are redundant, and what they carry is not looked at.
 */
export class SaslServer {
  state: SaslState = SaslState.challenge;
  /** base64, as on the wire; empty for "go ahead". */
  challenge: string = '';
  user: Bytes = new Bytes();
  password: Bytes = new Bytes();
  /** What the app brings for an exchange. */
  bearer: Bearer | null = null;
  private readonly mechanism: string;
  private readonly brings: bool;
  private steps: i32 = 0;

  constructor(mechanism: Bytes, terms: Terms) {
    this.mechanism = known(mechanism, terms);
    this.brings = terms.brings != '';
    if (this.mechanism == '') this.state = SaslState.unknownMechanism;
    else if (this.mechanism == 'LOGIN') this.challenge = 'VXNlcm5hbWU6'; // "Username:"
  }

  /** The app's initial response; "=" is an empty one (RFC 4954 section 4, RFC 4959, RFC 5034). */
  start(initial: Bytes): void {
    if (this.state != SaslState.challenge) return;
    this.respond(initial.equals('=') ? new Bytes() : initial);
  }

  respond(line: Bytes): void {
    if (line.equals('*')) {
      this.state = SaslState.cancelled;
      return;
    }
    const value = decode(line);
    if (value == null || value.length > this.limit) this.state = SaslState.malformed;
    else if (this.mechanism == 'PLAIN') this.takePlain(value);
    else if (this.mechanism == 'LOGIN') this.takeLogin(value);
    else this.takeBearer(value);
  }

  private get limit(): i32 {
    const bearer = this.brings && this.mechanism != 'PLAIN' && this.mechanism != 'LOGIN';
    return bearer ? BEARER_RESPONSE : APP_SECRET;
  }

  private takeBearer(value: Bytes): void {
    if (this.brings) this.bearer = this.mechanism == 'XOAUTH2' ? bearerOfXoauth2(value) : bearerOfOauthbearer(value);
    this.state = this.brings && this.bearer == null ? SaslState.malformed : SaslState.done;
  }

  /** RFC 4616 section 2: [authzid] NUL authcid NUL passwd. The authzid is not looked at: some clients repeat the user in it. */
  private takePlain(value: Bytes): void {
    const first = value.indexOf(0);
    const second = first < 0 ? -1 : value.indexOf(0, first + 1);
    if (second < 0 || value.indexOf(0, second + 1) >= 0) {
      this.state = SaslState.malformed;
      return;
    }
    this.user = value.slice(first + 1, second);
    this.password = value.slice(second + 1, value.length);
    this.state = SaslState.done;
  }

  private takeLogin(value: Bytes): void {
    this.steps += 1;
    if (this.steps == 1) {
      this.user = value;
      this.challenge = 'UGFzc3dvcmQ6'; // "Password:"
      return;
    }
    this.password = value;
    this.state = SaslState.done;
  }
}

/** Nothing where it is not offered. */
function known(mechanism: Bytes, terms: Terms): string {
  if (terms.takesPassword && mechanism.is('PLAIN')) return 'PLAIN';
  if (terms.takesPassword && mechanism.is('LOGIN')) return 'LOGIN';
  if (terms.wantsPassword) return '';
  if (mechanism.is('XOAUTH2')) return 'XOAUTH2';
  if (mechanism.is('OAUTHBEARER')) return 'OAUTHBEARER';
  return '';
}
