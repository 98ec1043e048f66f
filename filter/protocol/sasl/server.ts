import { decode } from '../base64';
import { Bytes } from '../bytes';
import { APP_SECRET } from '../limits';
import { Terms } from '../terms';

export enum SaslState {
  /** The app owes the response to `challenge`. */
  challenge,
  /** The app has presented all there is; see `user` and `password`. */
  done,
  /** The app sent "*" (RFC 4422 section 3.5: abort). */
  cancelled,
  /** Not base64, too long, or not of the mechanism's form. */
  malformed,
  unknownMechanism,
}

/**
 * The app's side of an exchange that we answer ourselves. PLAIN and LOGIN tell user and password; XOAUTH2 and OAUTHBEARER are
 * redundant here, and what they carry is not looked at.
 */
export class SaslServer {
  state: SaslState = SaslState.challenge;
  /** base64, as on the wire; empty for "go ahead". */
  challenge: string = '';
  user: Bytes = new Bytes();
  password: Bytes = new Bytes();
  private readonly mechanism: string;
  private steps: i32 = 0;

  constructor(mechanism: Bytes, terms: Terms) {
    this.mechanism = known(mechanism, terms.demandsLogin);
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
    if (value == null || value.length > APP_SECRET) this.state = SaslState.malformed;
    else if (this.mechanism == 'PLAIN') this.takePlain(value);
    else if (this.mechanism == 'LOGIN') this.takeLogin(value);
    else this.state = SaslState.done;
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

function known(mechanism: Bytes, passwordsOnly: bool): string {
  if (mechanism.is('PLAIN')) return 'PLAIN';
  if (mechanism.is('LOGIN')) return 'LOGIN';
  if (passwordsOnly) return '';
  if (mechanism.is('XOAUTH2')) return 'XOAUTH2';
  if (mechanism.is('OAUTHBEARER')) return 'OAUTHBEARER';
  return '';
}
