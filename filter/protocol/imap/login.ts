import { Bytes } from '../bytes';
import { COMMAND_LINE } from '../limits';
import { Mechanism, mechanismName, SaslClient } from '../sasl/client';
import { Credentials } from '../sasl/credentials';
import { Login, Terms } from '../terms';
import { Capability } from './capability';

/** Our login at the server, as the pieces in which it goes out: AUTHENTICATE (RFC 9051 section 6.2.2) or LOGIN (6.2.3). */
export class ServerLogin {
  /** Null for LOGIN. */
  private readonly client: SaslClient | null;
  /** LOGIN: what goes out first and at each "+". */
  private parts: Bytes[] = [];
  private partsSent: i32 = 0;
  /** Times that the server must ask before it has all of the login. */
  private owed: i32 = 0;

  constructor(
    private readonly capability: Capability,
    private readonly terms: Terms,
    private readonly credentials: Credentials,
  ) {
    const mechanism = capability.offer.best(terms);
    this.client = mechanism == Mechanism.none ? null : new SaslClient(mechanism, credentials);
  }

  get possible(): bool {
    return this.client != null || this.mayUseLogin;
  }

  /** A server that lists no AUTH= (Courier, GreenMail) still has LOGIN; a token would go out as a password by it. */
  private get mayUseLogin(): bool {
    return this.terms.login == Login.basic && !this.capability.loginDisabled && this.terms.allows('LOGIN');
  }

  /** The server's "+" asks for a SASL response, not for a literal. */
  get usesSasl(): bool {
    return this.client != null;
  }

  get mechanism(): Mechanism {
    const client = this.client;
    return client != null ? client.mechanism : Mechanism.command;
  }

  get name(): string {
    return this.client != null ? 'AUTHENTICATE' : 'LOGIN';
  }

  /** Whether the server has all of it; an OK before that is for someone else's login, or for none. */
  get complete(): bool {
    return this.owed <= 0;
  }

  command(tag: string): Bytes {
    const client = this.client;
    if (client != null) return this.authenticate(tag, client);
    this.parts = loginCommand(tag, this.credentials.user, this.credentials.password);
    this.partsSent = 1;
    this.owed = this.parts.length - 1;
    return this.parts.length > 0 ? this.parts[0] : new Bytes();
  }

  /** What goes out at the server's next "+", or null where there is nothing more to say. */
  next(): Bytes | null {
    const client = this.client;
    this.owed -= 1;
    if (client == null) return this.nextPart();
    const response = client.next();
    return response == null ? null : new Bytes().append(response).text('\r\n');
  }

  private authenticate(tag: string, client: SaslClient): Bytes {
    const command = Bytes.of(`${tag} AUTHENTICATE ${mechanismName(client.mechanism)}`);
    const initial = client.initialResponse;
    this.owed = client.mechanism == Mechanism.login ? 2 : 1;
    if (initial != null && this.capability.saslIr && command.length + 1 + initial.length + 2 <= COMMAND_LINE) {
      command.text(' ').append(initial);
      client.sentInitialResponse();
      this.owed = 0;
    }
    return command.text('\r\n');
  }

  private nextPart(): Bytes | null {
    if (this.partsSent >= this.parts.length) return null;
    this.partsSent += 1;
    return this.parts[this.partsSent - 1];
  }
}

/** Our LOGIN, cut where the server's "+" must be awaited: before each literal. */
function loginCommand(tag: string, user: Bytes, password: Bytes): Bytes[] {
  const parts: Bytes[] = [];
  const withUser = argument(Bytes.of(tag).text(' LOGIN '), user, parts);
  const complete = argument(withUser.text(' '), password, parts);
  parts.push(complete.text('\r\n'));
  return parts;
}

/** Appends `value` to `line` where a quoted string can hold it; else ends `line` in a literal and begins the next with it. */
function argument(line: Bytes, value: Bytes, parts: Bytes[]): Bytes {
  if (isQuotable(value)) return appendQuoted(line, value);
  parts.push(line.text(`{${value.length}}\r\n`));
  return new Bytes().append(value);
}

/** RFC 9051 section 9, QUOTED-CHAR: seven bits, no NUL, CR, LF. Eight bits need UTF8=ACCEPT or a literal. */
function isQuotable(value: Bytes): bool {
  for (let i = 0; i < value.length; i++) {
    const byte = value.at(i);
    if (byte == 0x00 || byte == 0x0d || byte == 0x0a || byte > 0x7f) return false;
  }
  return true;
}

function appendQuoted(line: Bytes, value: Bytes): Bytes {
  line.push(0x22);
  for (let i = 0; i < value.length; i++) {
    if (value.at(i) == 0x22 || value.at(i) == 0x5c) line.push(0x5c);
    line.push(value.at(i));
  }
  return line.push(0x22);
}
