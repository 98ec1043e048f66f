import { Bytes } from '../bytes';
import { Failure } from '../failure';
import { COMMAND_LINE } from '../limits';
import { Machine, Phase } from '../machine';
import { Mechanism, mechanismName, SaslClient } from '../sasl/client';
import { SaslState } from '../sasl/server';
import { Login } from '../terms';
import { Capability } from './capability';
import { Command, Verb } from './command';
import { codeOf, greetingCodeOf } from './error';
import { ReplyLine } from './reply';

/** Which answer is awaited. */
enum Step {
  none,
  /** EHLO, the app's or our own */
  ehlo,
  /** HELO, after a server that knows no EHLO */
  helo,
  /** a command of the app that passes, with its answer */
  pass,
  /** NOOP, whose answer carries a reply of ours */
  carrier,
  /** AUTH, until the server decides */
  auth,
}

/** Mail submission: RFC 5321, RFC 4954 (AUTH). */
export class SmtpMachine extends Machine {
  private step: Step = Step.none;
  /** The server's answer to EHLO, once it is whole. */
  private capability: Capability | null = null;
  private heard: Capability = new Capability();
  private client: SaslClient | null = null;
  /** The server's greeting was a permanent refusal: the app must not try again and again. */
  private refusedForGood: bool = false;
  /** The server waits for a SASL response. */
  private challenged: bool = false;
  /** Lines of a greeting or answer for the app that is not whole yet. */
  private passing: Bytes = new Bytes();
  /** The server's refusal so far: some tell the reason in the first of several lines. */
  private refusing: Bytes = new Bytes();
  /** The app's EHLO or HELO, while the app waits for its answer. */
  private hello: Command | null = null;

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
    if (command.verb == Verb.starttls) this.answer('502 5.5.1 this address is for plain connections\r\n');
    else if (command.verb == Verb.auth) this.onAuth(command);
    else if (command.verb == Verb.neutral) this.pass(command.line);
    else if (command.verb == Verb.quit) this.pass(Bytes.of('QUIT'));
    else this.onHello(command);
  }

  private onHello(command: Command): void {
    // It is kept until the server's answer, and so must be of a size that many connections can keep.
    if (command.line.length > COMMAND_LINE) {
      this.answer('500 5.5.2 line too long\r\n');
      return;
    }
    const known = this.capability;
    if (this.lastWrite) {
      this.deliver(command.line);
    } else if (known == null) {
      this.hello = command;
      this.sendHello('EHLO', command.argument(0));
    } else {
      // A second EHLO would be refused by some servers (OpenSMTPD: 503).
      this.answer(command.verb == Verb.helo ? known.helo() : known.rewritten(this.terms.offered));
    }
  }

  private onAuth(command: Command): void {
    const initial = command.argument(1);
    if (this.appLoggedIn) this.answer('503 5.5.1 already logged in\r\n');
    else this.startSasl(command.argument(0), initial.length > 0 ? initial : null);
  }

  private pass(line: Bytes): void {
    if (this.lastWrite) {
      this.deliver(line);
      return;
    }
    this.step = Step.pass;
    this.send(new Bytes().append(line).text('\r\n'));
  }

  protected sendCarrier(): void {
    this.step = Step.carrier;
    this.sendText('NOOP\r\n');
  }

  protected startLogin(): void {
    if (this.capability == null) this.sendHello('EHLO', this.terms.hello);
    else this.authenticate();
  }

  private sendHello(verb: string, name: Bytes): void {
    this.step = verb == 'EHLO' ? Step.ehlo : Step.helo;
    this.heard = new Capability();
    this.send(
      Bytes.of(verb)
        .text(' ')
        .append(name.length > 0 ? name : this.terms.hello)
        .text('\r\n'),
    );
  }

  // The server's side.

  protected onGreeting(line: Bytes): void {
    const reply = new ReplyLine(line);
    if (reply.code == 0) {
      this.fail(Failure.server_greeting, 'the server did not greet in SMTP');
    } else if (reply.kind != 2) {
      this.refusedForGood = reply.kind == 5;
      this.refusedGreeting(line);
    } else {
      this.passOn(reply);
      if (!reply.last) return;
      this.greeted = true;
      this.phase = Phase.ready;
    }
  }

  protected onAnswer(line: Bytes): void {
    const reply = new ReplyLine(line);
    if (reply.code == 0) this.fail(Failure.protocol, `the server's answer is no SMTP reply${this.during()}`);
    else if (this.step == Step.pass) this.onPassed(reply);
    else if (reply.code == 421) this.serverGone(this.said(line));
    else if (this.step == Step.carrier) this.onCarrier(reply);
    else if (this.step == Step.auth) this.onAuthReply(reply);
    else this.onHelloReply(reply);
  }

  protected onUnsolicited(line: Bytes): void {
    if (new ReplyLine(line).code == 421) this.serverGone(this.said(line));
    else this.fail(Failure.protocol, 'the server spoke without being asked');
  }

  private onPassed(reply: ReplyLine): void {
    this.passOn(reply);
    if (reply.last) this.phase = Phase.ready;
  }

  /** The app gets a reply whole or not at all: a failure in the middle of one would be no reply. */
  private passOn(reply: ReplyLine): void {
    this.passing.append(reply.line).text('\r\n');
    if (!reply.last) return;
    this.toApp.append(this.passing);
    this.passing.clear();
  }

  private onCarrier(reply: ReplyLine): void {
    if (reply.last) this.sayCarried();
  }

  private onHelloReply(reply: ReplyLine): void {
    this.heard.add(reply.text);
    if (!reply.last) return;
    if (reply.kind == 2) this.onHelloDone();
    else if (reply.kind == 5 && this.step == Step.ehlo) this.onEhloRefused();
    else this.fail(Failure.server_unavailable, this.said(reply.line));
  }

  /** A server of before RFC 1869 (1995), or something in between that masks EHLO. */
  private onEhloRefused(): void {
    const hello = this.hello;
    this.sendHello('HELO', hello != null ? hello.argument(0) : this.terms.hello);
  }

  private onHelloDone(): void {
    const hello = this.hello;
    this.capability = this.heard;
    this.hello = null;
    this.phase = Phase.ready;
    if (hello == null) this.authenticate();
    else this.answer(hello.verb == Verb.helo ? this.heard.helo() : this.heard.rewritten(this.terms.offered));
  }

  // The login at the server.

  private authenticate(): void {
    const capability = this.capability;
    if (this.terms.login == Login.none || capability == null) {
      this.onLoggedIn();
      return;
    }
    const mechanism = capability.offer.best(this.terms);
    if (mechanism == Mechanism.none) this.fail(Failure.mechanism, this.noMechanism);
    else if (!this.mustAsk()) this.sendAuth(new SaslClient(mechanism, this.credentials));
  }

  private get noMechanism(): string {
    const names = this.terms.byToken ? 'AUTH XOAUTH2 nor AUTH OAUTHBEARER' : 'AUTH PLAIN nor AUTH LOGIN';
    return `the server offers neither ${names}${this.terms.restriction}`;
  }

  private sendAuth(client: SaslClient): void {
    const command = Bytes.of(`AUTH ${mechanismName(client.mechanism)}`);
    const initial = client.initialResponse;
    if (initial != null && command.length + 1 + initial.length + 2 <= COMMAND_LINE) {
      command.text(' ').append(initial);
      client.sentInitialResponse();
    }
    this.client = client;
    this.mechanism = client.mechanism;
    this.step = Step.auth;
    this.send(command.text('\r\n'));
  }

  private onAuthReply(reply: ReplyLine): void {
    this.refusing.append(reply.line).text(' ');
    if (!reply.last) return;
    const said = this.refusing;
    this.refusing = new Bytes();
    if (reply.kind == 2) this.onLoggedIn();
    else if (reply.code == 334) this.onChallenge();
    else if (reply.kind == 4) this.fail(Failure.server_unavailable, this.said(said));
    else this.refused(said);
  }

  private onChallenge(): void {
    const client = this.client;
    const response = client != null ? client.next() : null;
    this.challenged = true;
    if (response == null) this.fail(Failure.protocol, 'the server asked for more than the mechanism has to say');
    else if (this.send(new Bytes().append(response).text('\r\n'))) this.challenged = false;
  }

  // Wording.

  protected during(): string {
    switch (this.step) {
      case Step.ehlo:
        return ' during EHLO';
      case Step.helo:
        return ' during HELO';
      case Step.auth:
        return ' during AUTH';
      default:
        return '';
    }
  }

  /** Within an exchange "*" ends it first (RFC 4954 section 4), or QUIT would be taken for a response. */
  protected farewell(): string {
    return this.challenged ? '*\r\nQUIT\r\n' : 'QUIT\r\n';
  }

  protected failureReply(text: string): string {
    if (this.refusedForGood) return `554 5.3.0 ${text}\r\n`;
    return `${this.greeted ? codeOf(this.failure) : greetingCodeOf(this.failure)} ${text}\r\n`;
  }

  protected challengeReply(challenge: string): string {
    return `334 ${challenge}\r\n`;
  }

  protected saslReply(state: SaslState): string {
    if (state == SaslState.cancelled) return '501 5.7.0 login cancelled\r\n';
    if (state == SaslState.unknownMechanism) return '504 5.5.4 mechanism not offered\r\n';
    return '501 5.5.2 malformed response\r\n';
  }

  protected appLoginReply(text: string): string {
    return `${this.appLoginMissing ? '530 5.7.0' : '535 5.7.8'} ${text}\r\n`;
  }

  protected successReply(): string {
    return '235 2.7.0 logged in\r\n';
  }
}
