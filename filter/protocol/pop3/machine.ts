import { Bytes } from '../bytes';
import { Failure } from '../failure';
import { POP3_COMMAND_LINE } from '../limits';
import { Machine, Phase } from '../machine';
import { Mechanism, mechanismName, SaslClient } from '../sasl/client';
import { SaslState } from '../sasl/server';
import { Login } from '../terms';
import { wordAt, wordsOf } from '../words';
import { Capability } from './capability';
import { Command, Verb } from './command';
import { codeOf, transientCode } from './error';
import { ReplyLine, Status, withoutTimestamp } from './reply';

/** Which answer is awaited. */
enum Step {
  none,
  /** CAPA, the app's or our own */
  capa,
  /** a command of the app that passes, with its answer */
  pass,
  /** CAPA, whose answer carries a reply of ours */
  carrier,
  /** AUTH, until the server decides */
  auth,
  user,
  password,
}

/** Mail retrieval: RFC 1939, RFC 2449 (CAPA), RFC 5034 (AUTH). */
export class Pop3Machine extends Machine {
  private step: Step = Step.none;
  /** The server's latest answer to CAPA, once it is whole. */
  private capability: Capability | null = null;
  /** The answer to CAPA of which lines are still to come. */
  private heard: Capability | null = null;
  private client: SaslClient | null = null;
  /** The server waits for a SASL response. */
  private challenged: bool = false;
  /** The app waits for the answer to a CAPA of its own. */
  private asked: bool = false;
  /** The name of the app's USER, until its PASS. */
  private name: Bytes | null = null;
  /** The server's own code for a refusal that passes. */
  private transient: string = '';

  // The app's side.

  protected onCommand(line: Bytes): void {
    const command = new Command(line);
    if (command.verb == Verb.other) this.release();
    else if (command.verb == Verb.quit && !this.terms.demandsLogin) this.handOver();
    else this.onOwnCommand(command);
  }

  /** Commands that are answered, or passed one by one, before the server's part begins. */
  private onOwnCommand(command: Command): void {
    this.takeLine();
    if (command.verb == Verb.capa) this.onCapa(command.line);
    else if (command.verb == Verb.quit) this.pass(Bytes.of('QUIT'));
    else if (command.verb == Verb.utf8) this.pass(command.line);
    else if (command.verb == Verb.stls) this.answer('-ERR this address is for plain connections\r\n');
    else if (this.appLoggedIn) this.answer('-ERR already logged in\r\n');
    else this.onLoginCommand(command);
  }

  private onLoginCommand(command: Command): void {
    if (command.verb == Verb.user) this.onUser(command.rest);
    else if (command.verb == Verb.pass) this.onPass(command.rest);
    else if (command.verb == Verb.auth) this.onAuth(wordsOf(command.rest));
    else this.answer('-ERR APOP is not offered, use USER and PASS\r\n');
  }

  private onCapa(line: Bytes): void {
    if (this.lastWrite) {
      this.deliver(line);
      return;
    }
    this.asked = true;
    this.sendCapa(Step.capa);
  }

  private onUser(name: Bytes): void {
    this.name = name.length > 0 ? name : null;
    this.answer(name.length > 0 ? '+OK\r\n' : '-ERR USER wants a name\r\n');
  }

  private onPass(password: Bytes): void {
    const name = this.name;
    this.name = null;
    if (name == null) this.answer('-ERR USER comes first\r\n');
    else this.onAppLogin(name, password);
  }

  /** RFC 5034 section 4; without an argument it lists the mechanisms, as Dovecot and Cyrus do (RFC 1734's errata). */
  private onAuth(words: Bytes[]): void {
    if (words.length == 0) this.answer(this.mechanismList());
    else this.startSasl(wordAt(words, 0), words.length > 1 ? wordAt(words, 1) : null);
  }

  private mechanismList(): string {
    const names = wordsOf(Bytes.of(this.terms.offered));
    let list = '+OK\r\n';
    for (let i = 0; i < names.length; i++) list += `${names[i].toString()}\r\n`;
    return `${list}.\r\n`;
  }

  private pass(line: Bytes): void {
    if (this.lastWrite) {
      this.deliver(line);
      return;
    }
    this.step = Step.pass;
    this.send(new Bytes().append(line).text('\r\n'));
  }

  /** NOOP is not allowed before the login (RFC 1939 section 5), CAPA always is. */
  protected sendCarrier(): void {
    this.sendCapa(Step.carrier);
  }

  protected startLogin(): void {
    const own = this.capability;
    const capability = own != null ? own : this.remembered;
    if (capability == null) this.sendCapa(Step.capa);
    else this.authenticate(capability);
  }

  private get remembered(): Capability | null {
    const known = this.terms.remembered;
    return known instanceof Capability ? (known as Capability) : null;
  }

  private sendCapa(step: Step): void {
    this.step = step;
    this.heard = null;
    this.sendText('CAPA\r\n');
  }

  // The server's side.

  protected onGreeting(line: Bytes): void {
    const reply = new ReplyLine(line);
    if (reply.status == Status.err) {
      this.refusedGreeting(line);
    } else if (reply.status != Status.ok) {
      this.fail(Failure.server_greeting, 'the server did not greet in POP3');
    } else {
      this.toApp.append(withoutTimestamp(line)).text('\r\n');
      this.greeted = true;
      this.phase = Phase.ready;
    }
  }

  protected onAnswer(line: Bytes): void {
    const heard = this.heard;
    if (heard != null) this.onCapaLine(heard, line);
    else this.onStatus(new ReplyLine(line));
  }

  private onStatus(reply: ReplyLine): void {
    if (reply.status == Status.none)
      this.fail(Failure.protocol, `the server's answer is no POP3 reply${this.during()}`);
    else if (reply.status == Status.challenge) this.onChallenge();
    else if (this.step == Step.pass) this.onPassed(reply);
    else if (this.step == Step.capa || this.step == Step.carrier) this.onCapaStatus(reply);
    else if (reply.status == Status.err) this.onRefused(reply);
    else if (this.step == Step.user) this.sendPassword();
    else this.onLoginOk();
  }

  protected onUnsolicited(line: Bytes): void {
    // Dovecot says so before it closes an idle connection.
    if (new ReplyLine(line).status == Status.err) this.serverGone(this.said(line));
    else this.fail(Failure.protocol, 'the server spoke without being asked');
  }

  private onLoginOk(): void {
    const capability = this.capability;
    if (capability != null) this.remember(capability);
    this.onLoggedIn();
  }

  private onPassed(reply: ReplyLine): void {
    this.toApp.append(reply.line).text('\r\n');
    this.phase = Phase.ready;
  }

  private onCapaStatus(reply: ReplyLine): void {
    const heard = new Capability();
    if (reply.status == Status.err) {
      this.onCapaDone(heard);
      return;
    }
    heard.add(reply.line);
    this.heard = heard;
  }

  private onCapaLine(heard: Capability, line: Bytes): void {
    if (line.equals('.')) this.onCapaDone(heard);
    else heard.add(line);
  }

  private onCapaDone(capability: Capability): void {
    this.heard = null;
    this.capability = capability;
    if (this.step == Step.carrier) {
      this.sayCarried();
    } else if (this.asked) {
      this.asked = false;
      this.phase = Phase.ready;
      this.answer(capability.rewritten(this.terms));
    } else {
      this.authenticate(capability);
    }
  }

  // The login at the server.

  /** USER comes last: Dovecot lists it even where its mechanisms leave only LOGIN, and then refuses it. */
  private authenticate(capability: Capability): void {
    const mechanism = capability.offer.best(this.terms);
    if (mechanism == Mechanism.none && !this.mayUse(capability)) this.fail(Failure.mechanism, this.noMechanism);
    else if (this.mustAsk()) return;
    else if (mechanism == Mechanism.none) this.sendUser();
    else this.sendAuth(new SaslClient(mechanism, this.credentials));
  }

  /** Jakarta Mail calls USER and PASS "LOGIN" in its list of mechanisms. */
  private mayUse(capability: Capability): bool {
    const allowed = this.terms.allows('USER') || this.terms.allows('LOGIN');
    return this.terms.login == Login.basic && allowed && capability.takesUser;
  }

  private get noMechanism(): string {
    const names = this.terms.byToken ? 'SASL XOAUTH2 nor SASL OAUTHBEARER' : 'SASL PLAIN nor USER nor SASL LOGIN';
    return `the server offers neither ${names}${this.terms.restriction}`;
  }

  private sendAuth(client: SaslClient): void {
    const command = Bytes.of(`AUTH ${mechanismName(client.mechanism)}`);
    const initial = client.initialResponse;
    // Office 365 closes on a token in the same line, however short.
    if (initial != null && !this.terms.byToken && command.length + 1 + initial.length + 2 <= POP3_COMMAND_LINE) {
      command.text(' ').append(initial);
      client.sentInitialResponse();
    }
    this.client = client;
    this.mechanism = client.mechanism;
    this.step = Step.auth;
    this.send(command.text('\r\n'));
  }

  private onChallenge(): void {
    const client = this.client;
    this.challenged = this.step == Step.auth;
    const response = client != null && this.challenged ? client.next() : null;
    if (response == null) this.fail(Failure.protocol, 'the server asked for more than the login has to say');
    else if (this.send(new Bytes().append(response).text('\r\n'))) this.challenged = false;
  }

  private sendUser(): void {
    this.mechanism = Mechanism.command;
    this.step = Step.user;
    this.send(Bytes.of('USER ').append(this.credentials.user).text('\r\n'));
  }

  private sendPassword(): void {
    this.step = Step.password;
    this.send(Bytes.of('PASS ').append(this.credentials.password).text('\r\n'));
  }

  private onRefused(reply: ReplyLine): void {
    this.transient = transientCode(reply.code);
    if (this.transient == '') this.refused(reply.line);
    else this.fail(Failure.server_unavailable, this.said(reply.line));
  }

  // Wording.

  protected during(): string {
    switch (this.step) {
      case Step.capa:
        return ' during CAPA';
      case Step.auth:
        return ' during AUTH';
      case Step.user:
        return ' during USER';
      case Step.password:
        return ' during PASS';
      default:
        return '';
    }
  }

  /** Within an exchange "*" ends it first (RFC 5034 section 4), or QUIT would be taken for a response. */
  protected farewell(): string {
    return this.challenged ? '*\r\nQUIT\r\n' : 'QUIT\r\n';
  }

  protected failureReply(text: string): string {
    return `-ERR [${this.transient != '' ? this.transient : codeOf(this.failure)}] ${text}\r\n`;
  }

  protected challengeReply(challenge: string): string {
    return `+ ${challenge}\r\n`;
  }

  protected saslReply(state: SaslState): string {
    if (state == SaslState.cancelled) return '-ERR login cancelled\r\n';
    if (state == SaslState.unknownMechanism) return '-ERR mechanism not offered\r\n';
    return '-ERR malformed response\r\n';
  }

  protected appLoginReply(text: string): string {
    return `-ERR [AUTH] ${text}\r\n`;
  }

  protected successReply(): string {
    return '+OK logged in\r\n';
  }
}
