import { Bytes } from './bytes';
import { clean, Failure, knownFailure, nameOf } from './failure';
import { hintFor } from './hint';
import { Input, Problem } from './input';
import {
  APP_COMMANDS,
  APP_HELD,
  APP_LINE,
  APP_LOGINS,
  REPLY_TEXT,
  SERVER_ANSWER,
  SERVER_LINE,
  SERVER_LINES,
  SERVER_TEXT,
} from './limits';
import { Question } from './question';
import { Bearer } from './sasl/bearer';
import { Mechanism } from './sasl/client';
import { Credentials, isRepeated } from './sasl/credentials';
import { SaslServer, SaslState } from './sasl/server';
import { Login, ServerCapability, Terms } from './terms';

/** In the order in which a connection goes through them. */
export enum Phase {
  /** The server has not greeted. Nothing may be sent to it. */
  greeting,
  /** Nothing is outstanding: the app's next line decides. */
  ready,
  /** Nothing is outstanding at the server; sidecar-auth owes an answer, and what the app says is held. */
  asking,
  /** The server owes an answer. */
  waiting,
  /** A failure is to be said in place of the server's next bytes. */
  doomed,
  /** The failure is said, or the server has ended; what still comes from either side is swallowed until it closes. */
  closing,
  /** The bytes of both sides pass unread. */
  over,
}

const TOKEN_REFUSED = 'the server refused the token';

/** The failure in a line of the relay, `... postern: <destination>: <failure>: <text>`; none where it is not of this form. */
function relayFailure(text: string): Failure {
  const start = text.indexOf(' postern: ');
  const code = start < 0 ? -1 : text.indexOf(': ', start + ' postern: '.length);
  const end = code < 0 ? -1 : text.indexOf(': ', code + 2);
  return end < 0 ? Failure.none : knownFailure(text.slice(code + 2, end));
}

/** The first octet of a TLS ClientHello (RFC 8446 section 5.1); no command begins with it. */
const TLS_HANDSHAKE: i32 = 0x16;

const APP_CLOSED =
  'the application closed its sending side before the login was complete; keep it open until the answer (nc without -N)';

/**
 * The login part of one mail connection, without sockets, clocks and host: events go in (`fromApp`, `fromServer`, ...),
 * and after each event the caller takes what stands in `toServer` and `toApp` and looks at `question` and `phase`.
 *
 * Three rules come from Envoy. Nothing can be sent to the server before the app's first byte. Bytes for the app are produced only during an event of the server's side, for only there
 * can they be put in: a reply of our own needs a carrier, a harmless command whose answer it replaces. And after the app's end of stream
 * one single write to the server is possible.
 */
export abstract class Machine {
  readonly toServer: Bytes = new Bytes();
  readonly toApp: Bytes = new Bytes();
  phase: Phase = Phase.greeting;
  failure: Failure = Failure.none;
  failureText: string = '';
  /** The real login succeeded, or there is none to do. */
  loggedIn: bool = false;
  /** What sidecar-auth is to be asked; the caller takes it. `onCredentials` and its like answer, if that is still wanted then. */
  question: Question = Question.none;
  /** What the app brought for the exchange. */
  presented: Bearer | null = null;
  /** The server's refusal, for the rejection. */
  refusal: string = '';
  /** What the login at the server goes by, once it has begun; for metrics. */
  mechanism: Mechanism = Mechanism.none;
  credentials: Credentials;

  /** What the app sent and nobody has taken. */
  protected readonly app: Input = new Input(APP_LINE);
  protected readonly server: Input = new Input(SERVER_LINE);
  protected appIsAtFault: bool = false;
  /** The app has seen a greeting. */
  protected greeted: bool = false;
  /** The app's login that is under way. */
  protected sasl: SaslServer | null = null;
  /** The reply that replaces the carrier's answer. */
  protected carried: string = '';
  /** A login of the app's own was answered with success. */
  protected appLoggedIn: bool = false;
  /** The refusal at hand is for a login that did not come, not for a wrong one. */
  protected appLoginMissing: bool = false;

  /** The app has sent something, if only its end: from then on there is a buffer from which bytes go to the server. */
  private appSpoke: bool = false;
  private appEnded: bool = false;
  /** Answers of the server are to come that we have not waited for. */
  private delivered: bool = false;
  private speaking: bool = false;
  private farewellSaid: bool = false;
  private commands: i32 = 0;
  private refusedLogins: i32 = 0;
  private loginRequested: bool = false;
  /** What the app brought has been exchanged. */
  private exchanged: bool = false;
  /** The server refused a token, and what comes now is the only other try. */
  private retrying: bool = false;
  /** A failure's reply that came ready-made from sidecar-auth. */
  private readyMade: string = '';
  private answerLines: i32 = 0;
  private answerOctets: i32 = 0;
  /** Of the largest answer so far: what it said may still be kept. */
  private mostOctets: i32 = 0;

  constructor(protected readonly terms: Terms) {
    this.loggedIn = terms.login == Login.none;
    this.credentials = terms.credentials;
  }

  // What each protocol defines.

  protected abstract onGreeting(line: Bytes): void;
  /** A line of the app while nothing is outstanding; the handler takes it by `takeLine` or leaves it for the server. */
  protected abstract onCommand(line: Bytes): void;
  protected abstract onAnswer(line: Bytes): void;
  /** A line of the server that nobody asked for. */
  protected abstract onUnsolicited(line: Bytes): void;
  /** Sends the command whose answer carries a reply of ours. */
  protected abstract sendCarrier(): void;
  /** Begins the real login; `onLoggedIn` follows. */
  protected abstract startLogin(): void;
  protected abstract farewell(): string;
  /** The failure as one correct reply, in place of a greeting or of an answer. */
  protected abstract failureReply(text: string): string;
  protected abstract challengeReply(challenge: string): string;
  protected abstract saslReply(state: SaslState): string;
  /** The app's login is refused, or missing where the listener demands one. */
  protected abstract appLoginReply(text: string): string;
  protected abstract successReply(): string;
  protected onAppLiteral(_octets: Bytes): void {}
  protected onServerLiteral(_octets: Bytes): void {}

  // Events.

  /** `end`: the app's end of stream comes with these bytes, and so with whatever is written in answer to them. */
  fromApp(bytes: Bytes, end: bool): void {
    this.appSpoke = true;
    this.appEnded = this.appEnded || end;
    if (this.phase == Phase.over) this.toServer.append(bytes);
    if (this.phase == Phase.closing) this.sendFarewell();
    if (this.phase >= Phase.doomed) return;
    this.app.append(bytes);
    if (this.app.length > APP_HELD) this.fail(Failure.limit, 'more than 256 KiB before the login was complete');
    else this.advance();
  }

  fromServer(bytes: Bytes): void {
    if (this.phase == Phase.closing) return;
    this.speaking = true;
    this.server.append(bytes);
    this.readServer();
    this.advance();
    this.endOfServerEvent();
  }

  serverEnd(): void {
    if (this.phase >= Phase.closing) return;
    this.speaking = true;
    this.farewellSaid = true;
    if (this.phase == Phase.greeting)
      this.fail(Failure.server_greeting, 'the server closed the connection before its greeting');
    else if (this.phase == Phase.waiting) this.serverGone(`the server closed the connection${this.during()}`);
    else if (this.phase == Phase.asking) this.serverGone('the server closed the connection before the login');
    // A server may still listen after its end of stream: what passes must be from someone who is logged in.
    else if (this.phase == Phase.ready) this.phase = this.mayPass ? Phase.over : Phase.closing;
    this.endOfServerEvent();
  }

  /** The time for the greeting or for the login is up. The farewell makes a server that still lives answer, which carries the error. */
  deadline(): void {
    if (this.phase == Phase.greeting) this.fail(Failure.server_greeting, 'the server did not greet in time');
    else if (this.phase == Phase.waiting)
      this.fail(Failure.server_unavailable, `the server did not answer in time${this.during()}`);
    else if (this.phase == Phase.asking) this.failAsking('sidecar-auth brought no token in time');
    else if (this.phase == Phase.ready && this.appIsMidway)
      this.fail(Failure.protocol, 'the application did not finish its command in time');
    if (this.phase == Phase.doomed) this.sendFarewell();
  }

  /** The VM holds more for its connections than it can. */
  overload(): void {
    this.fail(Failure.limit, 'too many bytes of all connections wait for their logins');
  }

  /** What answers is not the server: its first bytes are replaced by the failure, and nothing is sent there. */
  fallback(failure: Failure, text: string): void {
    this.farewellSaid = true;
    this.fail(failure, text);
  }

  /** sidecar-auth brings what the login goes on with. */
  onCredentials(credentials: Credentials): void {
    if (this.phase != Phase.asking) return;
    this.credentials = credentials;
    this.exchanged = true;
    this.phase = Phase.ready;
    this.startLogin();
  }

  /** sidecar-auth says why it can't. */
  onNoCredentials(failure: Failure, text: string): void {
    if (this.phase == Phase.asking) this.fail(failure, text);
  }

  /** sidecar-auth does not answer, or not for this route. */
  onNoAnswer(): void {
    if (this.phase == Phase.asking) this.failAsking('sidecar-auth brought no token, try again');
  }

  /** The app is in the middle of a command or of a login: it may not stay there for as long as it likes. */
  get appIsMidway(): bool {
    return this.app.length > 0 || this.app.literal >= 0 || this.sasl != null;
  }

  get heldBytes(): i32 {
    const presented = this.presented;
    const token = presented != null ? presented.token.length : 0;
    return this.app.length + this.server.length + this.mostOctets + token;
  }

  // For the protocols.

  protected fail(failure: Failure, text: string): void {
    if (this.phase >= Phase.doomed) return;
    const nothingOutstanding = this.phase == Phase.ready || this.phase == Phase.asking;
    this.failure = failure;
    this.failureText = text;
    // The server may have changed since.
    if (!this.loggedIn) this.terms.remembered = null;
    // Nobody will read it any more, and the error may have to wait for its carrier.
    this.app.clear();
    this.phase = Phase.doomed;
    if (nothingOutstanding && !this.speaking) this.sendFarewell();
  }

  /** What is at fault is the app, whatever is outstanding at the server. */
  protected failForApp(text: string): void {
    this.appIsAtFault = this.phase < Phase.doomed;
    this.fail(Failure.protocol, text);
  }

  /** Sends a command of ours, or the app's, and waits for the answer. False: it could not be sent, and the failure is on its way. */
  protected send(command: Bytes): bool {
    if (this.appEnded) {
      this.failForApp(APP_CLOSED);
      return false;
    }
    this.toServer.append(command);
    this.phase = Phase.waiting;
    this.answerLines = 0;
    this.answerOctets = 0;
    return true;
  }

  protected sendText(command: string): bool {
    return this.send(Bytes.of(command));
  }

  /** Says `reply` to the app: at once where the server's event carries it, else in place of a carrier's answer. */
  protected answer(reply: string): void {
    if (this.delivered) {
      // It would overtake the answers that come before it.
      this.failForApp(APP_CLOSED);
    } else if (this.speaking) {
      this.toApp.text(reply);
    } else {
      this.carried = reply;
      this.sendCarrier();
    }
  }

  protected sayCarried(): void {
    this.toApp.text(this.carried);
    this.carried = '';
    this.phase = Phase.ready;
  }

  /** Takes the line that `onCommand` was given out of what is held. */
  protected takeLine(): void {
    this.app.take();
  }

  /** Everything that is held goes to the server, unchanged, and from here on both sides pass. */
  protected handOver(): void {
    this.app.moveTo(this.toServer);
    this.phase = Phase.over;
  }

  /** The app may talk to the server: nothing has to come before it. */
  protected get mayPass(): bool {
    return this.loggedIn && (this.appLoggedIn || !this.terms.demandsLogin);
  }

  /** The app has ended and one write is left. A command whose answer we would rewrite joins it by `deliver` instead of being asked for alone. */
  protected get lastWrite(): bool {
    return this.appEnded && this.mayPass;
  }

  protected deliver(line: Bytes): void {
    this.delivered = true;
    this.toServer.append(line).text('\r\n');
  }

  /** The app's command needs the session of the real login: log in first where that is not done. */
  protected release(): void {
    if (this.terms.demandsLogin && !this.appLoggedIn) {
      this.appLoginMissing = true;
      this.refuseApp(`log in first: ${this.demand}`);
    } else if (this.loggedIn) this.handOver();
    else this.startLogin();
  }

  /** What the server can do, told by this very server or by its last connection that got to a login. */
  protected remember(capability: ServerCapability): void {
    if (this.terms.remembers) this.terms.remembered = capability;
  }

  /** After the real login: answer the app's own one, or let its held command go. */
  protected onLoggedIn(): void {
    this.loggedIn = true;
    this.phase = Phase.ready;
    if (this.loginRequested) this.acceptApp();
    else this.handOver();
  }

  /** The app has asked for a login of its own with these values, complete. */
  protected onAppLogin(user: Bytes, password: Bytes): void {
    this.appLoginMissing = false;
    if (!this.terms.takesPassword) {
      this.refuseApp(this.demand);
    } else if (!this.terms.accepts(user, password)) {
      this.refuseApp('wrong user name or password for this address');
    } else if (this.loggedIn) {
      this.acceptApp();
    } else {
      this.loginRequested = true;
      this.startLogin();
    }
  }

  protected startSasl(mechanism: Bytes, initial: Bytes | null): void {
    if (!this.terms.takesPassword && (mechanism.is('PLAIN') || mechanism.is('LOGIN'))) {
      this.appLoginMissing = false;
      this.refuseApp(this.demand);
      return;
    }
    const sasl = new SaslServer(mechanism, this.terms);
    this.sasl = sasl;
    if (initial != null) sasl.start(initial);
    this.continueSasl(sasl);
  }

  /** What the app presented must be exchanged before the login at the server; if so `startLogin` comes again with what that brings. */
  protected mustAsk(): bool {
    if (this.presented == null || this.exchanged) return false;
    this.ask(Question.exchange);
    return true;
  }

  /** The server refuses the login. A token may have been revoked: then there is a newer one, and the app never hears of it. */
  protected refused(line: Bytes): void {
    this.refusal = this.said(line);
    if (!this.terms.byToken || this.retrying) {
      this.fail(Failure.rejected, `${this.refusal}${hintFor(line.toString(), this.terms.byToken)}`);
    } else {
      this.retrying = true;
      this.ask(Question.rejection);
    }
  }

  /** The server gives up or has closed before the login is done. After a refused token the next connection has a newer one. */
  protected serverGone(text: string): void {
    if (this.retrying && !this.loggedIn)
      this.fail(Failure.token, `${TOKEN_REFUSED} and closed the connection, try again; ${this.refusal}`);
    else this.fail(Failure.server_unavailable, text);
  }

  /** The server's own words, in the short form that an error text may hold; not if they repeat what it was sent. */
  protected said(line: Bytes): string {
    if (this.isRepeatedIn(line)) return 'the server refused, in words that repeat the login';
    return `the server said: ${clean(line.slice(0, SERVER_TEXT).toString(), SERVER_TEXT)}`;
  }

  private isRepeatedIn(line: Bytes): bool {
    const presented = this.presented;
    return this.credentials.isRepeatedIn(line) || (presented != null && isRepeated(presented.token, line));
  }

  /** What is awaited, for error texts: " during ...". */
  protected during(): string {
    return '';
  }

  /** The server greets with a refusal. One of the relay's own is passed on as it is: it names destination and failure. */
  protected refusedGreeting(line: Bytes): void {
    const failure = this.terms.relay ? relayFailure(line.toString()) : Failure.none;
    if (failure == Failure.none) {
      this.fail(Failure.server_greeting, this.said(line));
      return;
    }
    this.readyMade = clean(line.toString(), REPLY_TEXT);
    this.fail(failure, 'told by the relay');
  }

  // Inside.

  private acceptApp(): void {
    this.loginRequested = false;
    this.appLoggedIn = true;
    this.answer(this.successReply());
  }

  private refuseApp(text: string): void {
    this.refusedLogins += 1;
    if (this.refusedLogins >= APP_LOGINS) {
      this.fail(Failure.app_login, text);
      return;
    }
    this.takeLine();
    this.answer(this.appLoginReply(this.errorText(Failure.app_login, text)));
  }

  /** What an app must log in by, in words. */
  private get demand(): string {
    if (this.terms.takesPassword) return 'this address demands a login';
    return `this destination wants ${this.terms.brings} by XOAUTH2`;
  }

  private onAppBearer(bearer: Bearer): void {
    if (this.loggedIn) {
      // IMAP with PREAUTH: the session is someone else's already.
      this.appLoginMissing = false;
      this.refuseApp('the login is done already');
      return;
    }
    this.presented = bearer;
    this.loginRequested = true;
    this.startLogin();
  }

  private ask(question: Question): void {
    this.question = question;
    this.phase = Phase.asking;
    this.answerLines = 0;
    this.answerOctets = 0;
  }

  private failAsking(text: string): void {
    if (this.retrying)
      this.fail(Failure.token, `${TOKEN_REFUSED}, and there is no newer one yet, try again; ${this.refusal}`);
    else this.fail(Failure.token, text);
  }

  /** After the app's end one write is left, and a login needs more. A rejection is still told: the token must go. */
  private failEnded(): void {
    if (this.retrying) {
      this.failAsking('');
      return;
    }
    this.question = Question.none;
    this.failForApp(APP_CLOSED);
  }

  private continueSasl(sasl: SaslServer): void {
    if (sasl.state == SaslState.challenge) {
      this.answer(this.challengeReply(sasl.challenge));
      return;
    }
    this.sasl = null;
    const bearer = sasl.bearer;
    if (bearer != null) this.onAppBearer(bearer);
    else if (sasl.state == SaslState.done) this.onAppLogin(sasl.user, sasl.password);
    else this.answer(this.saslReply(sasl.state));
  }

  private advance(): void {
    while (this.phase == Phase.ready && this.readApp()) {}
    if (this.phase == Phase.asking && this.appEnded) this.failEnded();
    if (this.phase != Phase.ready || !this.appEnded) return;
    if (this.app.length == 0) this.phase = Phase.over;
    else this.fail(Failure.protocol, 'the last command is not ended by CRLF');
  }

  /** False: what is there is no whole line or literal, or none that may be read. */
  private readApp(): bool {
    if (this.app.literal >= 0) {
      const octets = this.app.takeLiteral();
      if (octets != null) this.onAppLiteral(octets);
      return octets != null;
    }
    if (this.app.first == TLS_HANDSHAKE) {
      this.fail(Failure.protocol, 'the application started TLS; this address is for plain connections');
      return false;
    }
    const line = this.app.line();
    if (line != null) this.onAppLine(line);
    else if (this.app.problem == Problem.tooLong)
      this.fail(Failure.limit, 'a line of more than 40 KiB before the login');
    else if (this.app.problem == Problem.bareLf)
      this.fail(Failure.protocol, 'a command must end in CRLF, not in LF alone (nc -C)');
    return line != null;
  }

  private onAppLine(line: Bytes): void {
    const sasl = this.sasl;
    // Once logged in, an app may keep its session alive by NOOP for as long as it likes.
    if (!this.mayPass) this.commands += 1;
    if (this.commands > APP_COMMANDS) {
      this.fail(Failure.limit, 'more than 64 commands before the login');
    } else if (sasl != null) {
      this.takeLine();
      sasl.respond(line);
      this.continueSasl(sasl);
    } else if (line.ends(' HTTP/1.1') || line.ends(' HTTP/1.0')) {
      // A web page can make a browser send this to a local address, with mail commands of its choice in the body.
      this.fail(Failure.protocol, 'this is no web server');
    } else if (line.indexOf(0x0d) >= 0 || line.indexOf(0) >= 0) {
      // Where a server takes a bare CR for a line's end, this would be two commands, and only the first was looked at.
      this.fail(Failure.protocol, 'a command holds a NUL or a bare CR');
    } else {
      this.onCommand(line);
    }
  }

  private readServer(): void {
    while (this.phase < Phase.doomed) {
      if (this.server.literal >= 0) {
        const octets = this.server.takeLiteral();
        if (octets == null) return;
        this.onServerLiteral(octets);
        continue;
      }
      const line = this.server.line();
      if (line == null) {
        this.refuseServer();
        return;
      }
      this.server.take();
      this.onServerLine(line);
    }
  }

  private refuseServer(): void {
    if (this.server.problem == Problem.tooLong) this.fail(Failure.limit, 'the server sent a line of more than 8 KiB');
    else if (this.server.problem == Problem.bareLf)
      this.fail(Failure.protocol, 'the server sent a line that does not end in CRLF');
  }

  private onServerLine(line: Bytes): void {
    if (this.phase != Phase.ready && this.isTooMuch(line.length)) return;
    if (this.phase == Phase.greeting) this.onGreeting(line);
    else if (this.phase == Phase.waiting) this.onAnswer(line);
    else this.onUnsolicited(line);
  }

  /** The server's answer, or greeting, has lines without end. */
  private isTooMuch(octets: i32): bool {
    this.answerLines += 1;
    this.answerOctets += octets;
    if (this.answerOctets > this.mostOctets) this.mostOctets = this.answerOctets;
    if (this.answerLines > SERVER_LINES) this.fail(Failure.limit, 'the server sent an answer of more than 128 lines');
    else if (this.answerOctets > SERVER_ANSWER)
      this.fail(Failure.limit, 'the server sent an answer of more than 64 KiB');
    return this.phase >= Phase.doomed;
  }

  private endOfServerEvent(): void {
    if (this.phase == Phase.doomed) this.sayFailure();
    if (this.phase == Phase.over) this.server.moveTo(this.toApp);
    if (this.phase >= Phase.closing) this.server.clear();
    this.speaking = false;
  }

  private sayFailure(): void {
    const text = this.errorText(this.failure, this.failureText);
    this.toApp.text(this.readyMade != '' ? `${this.readyMade}\r\n` : this.failureReply(text));
    this.sendFarewell();
    this.app.clear();
    this.phase = Phase.closing;
  }

  private sendFarewell(): void {
    if (this.farewellSaid || !this.appSpoke) return;
    this.farewellSaid = true;
    this.toServer.text(this.farewell());
  }

  private errorText(failure: Failure, text: string): string {
    return clean(`postern: ${this.terms.destination}: ${nameOf(failure)}: ${text}`, REPLY_TEXT);
  }
}
