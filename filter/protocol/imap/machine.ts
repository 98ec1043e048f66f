import { Bytes } from '../bytes';
import { Failure } from '../failure';
import { APP_LINE, APP_SECRET, SERVER_LINE } from '../limits';
import { Machine, Phase } from '../machine';
import { SaslState } from '../sasl/server';
import { Login } from '../terms';
import { LoginArguments } from './arguments';
import { Capability, capabilityOf, loginsOf, rewrittenLine } from './capability';
import { Command, Verb } from './command';
import { codeOf } from './error';
import { Literal, literalOf } from './literal';
import { ServerLogin } from './login';
import { Response } from './response';

/** What is awaited of the server. */
enum Step {
  greeting,
  none,
  /** a line came that nobody asked for and that has no place here */
  unasked,
  /** a command of the app that passes, with its answer */
  pass,
  /** NOOP, whose answer carries a reply of ours */
  carrier,
  /** CAPABILITY, our own */
  capability,
  /** AUTHENTICATE or LOGIN, until the server decides */
  login,
}

/** IMAP: RFC 9051 and RFC 3501, RFC 4959 (SASL-IR), RFC 7888 (LITERAL+), RFC 2971 (ID). */
export class ImapMachine extends Machine {
  private step: Step = Step.greeting;
  /** The tag whose answer is awaited. */
  private awaited: string = '';
  private ownTags: i32 = 0;
  /** The tag of the app's command that has no answer yet, or empty. */
  private tag: Bytes = new Bytes();
  /** The app was greeted with PREAUTH. */
  private preauth: bool = false;
  /** The app's LOGIN, while its literals are read. */
  private appLogin: LoginArguments | null = null;
  /** The app's ID has literals: it is read to its end and answered here. */
  private appId: bool = false;
  /** CAPABILITY after PREAUTH is held until the real login: what the server lists before it is not what the session has. */
  private capabilityHeld: bool = false;
  /** What the server can do before the login, once it is known. */
  private capability: Capability | null = null;
  /** What it can do in the session, where its answer to the login says so. */
  private session: Capability | null = null;
  private login: ServerLogin | null = null;
  /** The server waits for a SASL response. */
  private challenged: bool = false;
  /** A response for the app whose literals are not all there. */
  private passing: Bytes = new Bytes();
  /** The server's next line goes on behind its literal. */
  private literalRead: bool = false;

  // The app's side.

  protected onCommand(line: Bytes): void {
    const login = this.appLogin;
    if (login != null) {
      this.takeLine();
      login.read(line);
      this.continueLogin(login);
    } else if (this.appId) {
      this.takeLine();
      this.continueId(literalOf(line));
    } else {
      this.onNewCommand(new Command(line));
    }
  }

  private onNewCommand(command: Command): void {
    this.tag = command.tag;
    if (this.appLoggedIn) this.onCommandAfterLogin(command);
    else if (command.verb == Verb.other) this.onSessionCommand(command);
    else if (this.isLogout(command) && !this.terms.demandsLogin) this.handOver();
    else if (command.verb == Verb.capability && this.preauth && !this.loggedIn) this.holdCapability();
    else this.onOwnCommand(command);
  }

  /** A malformed one would not end the session. */
  private isLogout(command: Command): bool {
    return command.verb == Verb.logout && command.rest.length == 0;
  }

  private onCommandAfterLogin(command: Command): void {
    if (command.verb == Verb.capability) this.onOwnCommand(command);
    else if (command.verb == Verb.login || command.verb == Verb.authenticate) this.refuse(command, 'already logged in');
    else this.handOver();
  }

  private onSessionCommand(command: Command): void {
    // A refusal would leave its literal to be read as commands.
    if (this.owesLogin && command.pushesLiteral) this.fail(Failure.app_login, 'log in first');
    else this.release();
  }

  /** The listener demands a login that the app has not shown. */
  private get owesLogin(): bool {
    return this.terms.demandsLogin && !this.appLoggedIn;
  }

  private holdCapability(): void {
    this.capabilityHeld = true;
    this.startLogin();
  }

  /** Commands that are answered, or passed one by one, before the server's part begins. */
  private onOwnCommand(command: Command): void {
    if (command.verb == Verb.login) this.onLogin(command);
    else if (command.verb == Verb.id && command.literal != null) this.onId(command);
    else if (command.verb == Verb.malformed) this.refuse(command, 'no command');
    else if (command.verb == Verb.starttls) this.refuse(command, 'this address is for plain connections');
    else if (command.literal != null) this.refuse(command, 'malformed arguments');
    else if (command.verb == Verb.logout && !this.isLogout(command)) this.refuse(command, 'malformed arguments');
    else if (command.verb == Verb.authenticate) this.onAuthenticate(command);
    else this.pass(command);
  }

  private refuse(command: Command, text: string): void {
    this.takeLine();
    if (command.pushesLiteral) this.fail(Failure.protocol, `a literal where none is due: ${text}`);
    else this.answer(`${this.tag.length > 0 ? this.tag.toString() : '*'} BAD ${text}\r\n`);
  }

  private onAuthenticate(command: Command): void {
    const initial = command.word(1);
    this.takeLine();
    this.startSasl(command.word(0), initial.length > 0 ? initial : null);
  }

  private onLogin(command: Command): void {
    const login = new LoginArguments();
    this.takeLine();
    this.appLogin = login;
    login.read(command.rest);
    this.continueLogin(login);
  }

  private continueLogin(login: LoginArguments): void {
    const literal = login.literal;
    if (login.malformed) {
      this.appLogin = null;
      // Whatever literal the line announced, its octets must not be read as commands.
      if (login.pushesLiteral) this.fail(Failure.protocol, 'malformed LOGIN with a literal');
      else this.answer(`${this.tag.toString()} BAD malformed LOGIN\r\n`);
    } else if (literal != null) {
      this.awaitLiteral(literal, APP_SECRET);
    } else {
      this.appLogin = null;
      this.onAppLogin(login.user, login.password);
    }
  }

  private onId(command: Command): void {
    this.takeLine();
    this.appId = true;
    this.continueId(command.literal);
  }

  private continueId(literal: Literal | null): void {
    if (literal != null) {
      this.awaitLiteral(literal, APP_LINE);
      return;
    }
    this.appId = false;
    this.answer(`* ID NIL\r\n${this.tag.toString()} OK ID completed\r\n`);
  }

  private awaitLiteral(literal: Literal, limit: i32): void {
    if (literal.size > limit) {
      this.fail(Failure.limit, `a literal of more than ${limit} octets before the login`);
      return;
    }
    this.app.literal = literal.size;
    if (literal.synchronizing) this.answer('+ go ahead\r\n');
  }

  protected onAppLiteral(octets: Bytes): void {
    const login = this.appLogin;
    if (login != null) login.add(octets);
  }

  protected answer(reply: string): void {
    super.answer(reply);
    if (this.phase == Phase.ready) this.settle();
  }

  protected sayCarried(): void {
    super.sayCarried();
    this.settle();
  }

  /** The app has its answer, unless that was a request to go on. */
  private settle(): void {
    this.step = Step.none;
    if (this.sasl == null && this.app.literal < 0) this.tag = new Bytes();
  }

  private pass(command: Command): void {
    this.takeLine();
    if (this.lastWrite) {
      this.deliver(command.line);
      this.settle();
      return;
    }
    this.awaited = this.tag.toString();
    this.issue(Step.pass, new Bytes().append(command.line).text('\r\n'));
  }

  protected sendCarrier(): void {
    this.issue(Step.carrier, Bytes.of(`${this.newTag()} NOOP\r\n`));
  }

  protected startLogin(): void {
    if (this.capability == null) this.capability = this.remembered;
    if (this.capability == null) this.issue(Step.capability, Bytes.of(`${this.newTag()} CAPABILITY\r\n`));
    else this.authenticate();
  }

  private get remembered(): Capability | null {
    const known = this.terms.remembered;
    return known instanceof Capability ? (known as Capability) : null;
  }

  private issue(step: Step, command: Bytes): void {
    if (this.send(command)) this.step = step;
  }

  /** A tag for a command of ours, other than the one that the app is using. */
  private newTag(): string {
    do {
      this.ownTags += 1;
      this.awaited = `postern${this.ownTags}`;
    } while (this.tag.equals(this.awaited));
    return this.awaited;
  }

  // The server's side.

  protected onGreeting(line: Bytes): void {
    const response = new Response(line);
    if (!response.untagged) {
      this.fail(Failure.server_greeting, 'the server did not greet in IMAP');
    } else if (response.name.is('OK')) {
      this.greet(response, this.terms.preauth);
    } else if (response.name.is('PREAUTH') && this.terms.login == Login.none) {
      this.greet(response, !this.terms.demandsLogin);
    } else if (response.name.is('BYE')) {
      this.refusedGreeting(line);
    } else {
      // PREAUTH where a login is due: nobody knows whose session that is.
      this.fail(Failure.server_greeting, this.said(line));
    }
  }

  private greet(response: Response, preauth: bool): void {
    this.preauth = preauth;
    this.capability = capabilityOf(response);
    const line = rewrittenLine(response, this.logins);
    this.toApp.text(preauth ? '* PREAUTH' : '* OK');
    this.toApp.appendRange(line, '* '.length + response.name.length, line.length).text('\r\n');
    this.greeted = true;
    this.step = Step.none;
    this.phase = Phase.ready;
  }

  /** What the app may still log in by. */
  private get logins(): string {
    return this.appLoggedIn || this.preauth ? '' : loginsOf(this.terms);
  }

  protected onAnswer(line: Bytes): void {
    const response = new Response(line);
    if (this.isRest(response) || this.phase != Phase.waiting) return;
    if (response.untagged) this.onUntagged(response);
    else if (response.continuation) this.onContinuation();
    else if (response.tag.equals(this.awaited)) this.onTagged(response);
    else this.fail(Failure.protocol, `the server's answer is no response to the command${this.during()}`);
  }

  /** The line goes on with a response whose literal came before it. Notes the literal that may follow this line. */
  private isRest(response: Response): bool {
    const rest = this.literalRead;
    this.literalRead = false;
    if (rest || response.isData) this.expectLiteral(literalOf(response.line));
    if (rest && this.step == Step.pass && this.phase < Phase.doomed) this.passOn(response.line);
    return rest;
  }

  private expectLiteral(literal: Literal | null): void {
    if (literal == null) return;
    if (literal.size > SERVER_LINE) this.fail(Failure.limit, 'the server sent a literal of more than 8 KiB');
    else this.server.literal = literal.size;
  }

  protected onServerLiteral(octets: Bytes): void {
    this.literalRead = true;
    if (this.step == Step.pass) this.passing.append(octets);
  }

  /** The app gets a response whole or not at all: a failure in the middle of one would be no response. */
  private passOn(line: Bytes): void {
    this.passing.append(line).text('\r\n');
    if (this.server.literal >= 0) return;
    this.toApp.append(this.passing);
    this.passing.clear();
  }

  private onUntagged(response: Response): void {
    this.learn(response);
    if (this.step == Step.pass) this.tell(response);
    else if (response.name.is('BYE')) this.serverGone(this.said(response.line));
  }

  private tell(response: Response): void {
    this.passOn(rewrittenLine(response, this.logins));
    if (response.untagged && response.name.is('BYE') && this.mayPass) this.phase = Phase.over;
  }

  /** Gmail sends the session's capabilities untagged before its OK, others in the OK. */
  private learn(response: Response): void {
    const capability = capabilityOf(response);
    if (capability == null) return;
    if (this.step == Step.login) this.session = capability;
    else this.capability = capability;
  }

  protected onUnsolicited(line: Bytes): void {
    const response = new Response(line);
    // Data with a literal has no place before the login; where it is cut by the hand-over, the app would get half of it.
    if (!response.untagged || (response.isData && literalOf(line) != null)) {
      this.step = Step.unasked;
      this.fail(Failure.protocol, 'the server spoke without being asked');
      return;
    }
    if (this.phase != Phase.asking) this.tell(response);
    // In the middle of a login there is no place for it.
    else if (response.name.is('BYE')) this.serverGone(this.said(line));
  }

  private onTagged(response: Response): void {
    const ok = response.name.is('OK');
    this.learn(response);
    if (!ok && !response.name.is('NO') && !response.name.is('BAD')) {
      this.fail(Failure.protocol, `the server's answer is neither OK nor NO nor BAD${this.during()}`);
    } else if (this.step == Step.carrier) {
      this.sayCarried();
    } else if (this.step == Step.pass) {
      this.tell(response);
      this.phase = Phase.ready;
      this.settle();
    } else if (!ok) {
      this.onRefused(response);
    } else if (this.step == Step.capability) {
      this.phase = Phase.ready;
      this.authenticate();
    } else {
      this.onLoginOk();
    }
  }

  private onLoginOk(): void {
    const login = this.login;
    const capability = this.capability;
    if (login != null && login.complete) {
      if (capability != null) this.remember(capability);
      this.onLoggedIn();
    } else this.fail(Failure.protocol, 'the server accepted the login before it was told who logs in');
  }

  /** RFC 5530: these codes say that the login may be right. */
  private onRefused(response: Response): void {
    const code = response.code;
    const transient = code.is('UNAVAILABLE') || code.is('INUSE') || code.is('LIMIT');
    if (response.name.is('BAD')) this.fail(Failure.protocol, this.said(response.text));
    else if (transient || this.step == Step.capability) this.fail(Failure.server_unavailable, this.said(response.text));
    else this.refused(response.text);
  }

  // The login at the server.

  private authenticate(): void {
    const known = this.capability;
    const capability = known != null ? known : new Capability(new Bytes());
    const login = new ServerLogin(capability, this.terms, this.credentials);
    this.login = login;
    this.session = null;
    if (this.terms.login == Login.none) this.onLoggedIn();
    else if (!login.possible) this.fail(Failure.mechanism, this.noMechanism);
    else if (this.mustAsk()) this.step = Step.none;
    else this.sendLogin(login);
  }

  private sendLogin(login: ServerLogin): void {
    this.mechanism = login.mechanism;
    this.issue(Step.login, login.command(this.newTag()));
  }

  private get noMechanism(): string {
    const names = this.terms.byToken
      ? 'AUTH=XOAUTH2 nor AUTH=OAUTHBEARER'
      : 'AUTH=PLAIN nor AUTH=LOGIN, and LOGIN is disabled';
    return `the server offers neither ${names}${this.terms.restriction}`;
  }

  private onContinuation(): void {
    const login = this.step == Step.login ? this.login : null;
    const next = login != null ? login.next() : null;
    // Capabilities from before the last word of the login are not those of the session.
    this.session = null;
    this.challenged = login != null && login.usesSasl;
    if (next == null) this.fail(Failure.protocol, `the server asked for more than there is to say${this.during()}`);
    else if (this.send(next)) this.challenged = false;
  }

  protected onLoggedIn(): void {
    this.step = Step.none;
    if (!this.capabilityHeld) {
      super.onLoggedIn();
      return;
    }
    this.capabilityHeld = false;
    this.loggedIn = true;
    this.phase = Phase.ready;
  }

  // Wording.

  protected during(): string {
    const login = this.login;
    if (this.step == Step.capability) return ' during CAPABILITY';
    return this.step == Step.login && login != null ? ` during ${login.name}` : '';
  }

  /** Within an exchange "*" ends it first (RFC 9051 section 6.2.2), or LOGOUT would be taken for a response. */
  protected farewell(): string {
    return `${this.challenged ? '*\r\n' : ''}${this.newTag()} LOGOUT\r\n`;
  }

  protected failureReply(text: string): string {
    const coded = `[${codeOf(this.failure, this.appIsAtFault || this.step == Step.none)}] ${text}`;
    if (this.tag.length == 0) return `* BYE ${coded}\r\n`;
    return `${this.tag.toString()} NO ${coded}\r\n* BYE logging out\r\n`;
  }

  protected challengeReply(challenge: string): string {
    return `+ ${challenge}\r\n`;
  }

  protected saslReply(state: SaslState): string {
    const tag = this.tag.toString();
    if (state == SaslState.cancelled) return `${tag} BAD login cancelled\r\n`;
    if (state == SaslState.unknownMechanism) return `${tag} NO mechanism not offered\r\n`;
    return `${tag} BAD malformed response\r\n`;
  }

  protected appLoginReply(text: string): string {
    return `${this.tag.toString()} NO [${codeOf(Failure.app_login, true)}] ${text}\r\n`;
  }

  protected successReply(): string {
    const session = this.session;
    const list = session != null ? session.rewritten('') : new Bytes();
    const code = list.length > 0 ? `[CAPABILITY ${list.toString()}] ` : '';
    return `${this.tag.toString()} OK ${code}logged in\r\n`;
  }
}
