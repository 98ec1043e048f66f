import { Route } from './contract';
import { attempts, connectFailure, isAtFallback, pointAt, pointAtAddress } from './envoy-route';
import { askForExchange, tellRejection, tokenAnswerAtHand } from './helper';
import {
  Action,
  actOn,
  Buffer,
  closeDownstream,
  continueDownstream,
  Level,
  log,
  now,
  readBuffer,
  replaceBuffer,
  setFilterState,
} from './host/host';
import { FAREWELL, HELD_BY_RIGHT, HELD_BY_VM } from './limits';
import { Listener } from './listener';
import { countFailure, countLogin } from './metrics';
import { Bytes } from './protocol/bytes';
import { clean, Failure, nameOf } from './protocol/failure';
import { REPLY_TEXT } from './protocol/limits';
import { Machine, Phase } from './protocol/machine';
import { machineFor } from './protocol/protocols';
import { Question } from './protocol/question';
import { Login } from './protocol/terms';
import { vm } from './vm';

const MILLISECOND: u64 = 1000000;
const ALL: i32 = i32.MAX_VALUE;
const NOTHING: Bytes = new Bytes();

/** One connection of an app: its machine, driven by the host's callbacks, until the login is done. */
export class Connection {
  /** When it must be looked at, in nanoseconds since 1970; 0: it need not. */
  deadline: u64 = 0;
  /** Stands in the VM's list of running deadlines. */
  watched: bool = false;
  /** The server (or the fallback) has spoken. */
  private connected: bool = false;
  private machine: Machine | null = null;
  private route: Route | null = null;
  /** What this connection has added to `vm.held`. */
  private held: i32 = 0;
  private appEnded: bool = false;
  private failed: bool = false;
  private saidFailure: bool = false;
  private loginPending: bool = false;
  /** The call whose answer the machine waits for, or -1. */
  private call: i64 = -1;
  /** The bytes pass, or nobody is there any more. */
  finished: bool = false;

  constructor(
    readonly context: u32,
    readonly listener: Listener,
  ) {}

  // The host's callbacks.

  /** The app is here. Without a kept route it waits, with Envoy's connection to the server. */
  onNewConnection(): Action {
    const time = now();
    const kept = this.listener.keptRoute(time);
    if (kept == null) return vm.waitForRoute(this) ? Action.pause : Action.go;
    this.use(kept, time);
    vm.begun(this);
    return Action.go;
  }

  /** The route that the connection was paused for. */
  onRoute(route: Route): void {
    if (this.finished) return;
    actOn(this.context);
    this.use(route, now());
    this.takeEarlyData();
    continueDownstream();
    vm.begun(this);
  }

  /** The route could not even be asked for. */
  onNoRoute(route: Route): void {
    this.use(route, now());
  }

  onAppData(length: i32, end: bool): Action {
    const machine = this.machine;
    if (this.finished) return Action.go;
    if (end) this.appEnded = true;
    // Without a route the bytes stay with Envoy, which stops reading when there are many.
    if (machine == null) return Action.pause;
    const bytes = length > 0 ? readBuffer(Buffer.downstream, length) : new Bytes();
    this.hearApp(machine, bytes);
    if (machine.phase == Phase.over) {
      replaceBuffer(Buffer.downstream, length, machine.toServer);
      this.settle(machine);
      return Action.go;
    }
    this.afterEvent(machine, bytes);
    return Action.pause;
  }

  onServerData(length: i32, end: bool): void {
    const machine = this.machine;
    if (machine == null || (length == 0 && !end)) return;
    if (vm.held + length > HELD_BY_VM && machine.heldBytes + length > HELD_BY_RIGHT) machine.overload();
    const bytes = length > 0 ? readBuffer(Buffer.upstream, length) : new Bytes();
    if (!this.connected) this.onFirstBytes(machine);
    if (length > 0) machine.fromServer(bytes);
    this.countHeld(machine.heldBytes);
    // Before the end is looked at: a refused token must be told even where the server closes.
    this.ask(machine);
    if (end) machine.serverEnd();
    if (!machine.toApp.same(bytes)) replaceBuffer(Buffer.upstream, length, machine.toApp);
    machine.toApp.clear();
    this.afterEvent(machine);
  }

  /** The answer of sidecar-auth to what the machine asked is at hand, in the root context. */
  onTokenAnswer(bodyLength: i32): void {
    const machine = this.machine;
    const route = this.route;
    this.call = -1;
    if (machine == null || route == null) return;
    const answer = tokenAnswerAtHand(bodyLength, route.id);
    const credentials = answer.credentials;
    actOn(this.context);
    if (credentials != null) machine.onCredentials(credentials);
    else if (answer.failure != Failure.none) machine.onNoCredentials(answer.failure, answer.failureText);
    else this.onNoAnswer(machine, route);
    this.afterEvent(machine);
  }

  /** `deadline` has come: a last try to get the error across, then a bare close. */
  onDeadline(): void {
    const machine = this.machine;
    if (machine == null) return;
    actOn(this.context);
    if (machine.phase < Phase.closing) machine.deadline();
    const farewell = machine.toServer.length > 0;
    // The list that it stood in is made anew now.
    this.watched = false;
    const sent = this.afterEvent(machine);
    if (farewell && sent) this.startClock(FAREWELL);
    else closeDownstream();
  }

  onGone(): void {
    this.listener.open -= 1;
    this.finish();
  }

  /** Attempt 1 at the server has begun: from here on tcp_proxy reads where attempt 2 goes. */
  onAttemptBegun(): void {
    const route = this.route;
    if (route == null || this.connected) return;
    actOn(this.context);
    if (!route.relay && pointAtAddress(route, 1)) vm.watchAttempts(this);
    else setFilterState(this.listener.fallback);
  }

  /** Two addresses: true once the second one's attempt has begun, or there is nothing left to see. */
  checkAttempts(): bool {
    if (this.connected || this.route == null) return true;
    actOn(this.context);
    if (attempts() < 2) return false;
    setFilterState(this.listener.fallback);
    return true;
  }

  // Inside.

  private use(route: Route, time: u64): void {
    const machine = machineFor(this.listener.protocol, route.terms);
    this.route = route;
    this.machine = machine;
    this.loginPending = route.terms.login != Login.none;
    this.startClock(route.deadlineMs, time);
    if (route.failure != Failure.none) this.turnAway(machine, route.failure, route.failureText);
    else if (this.listener.open > route.limit) this.turnAway(machine, Failure.limit, 'too many connections');
    else if (!pointAt(route)) this.turnAway(machine, Failure.internal, 'Envoy did not take the route');
  }

  /** Bytes that came before the route must not be in Envoy's buffer when it goes on: they would reach the server. */
  private takeEarlyData(): void {
    const machine = this.machine;
    const bytes = readBuffer(Buffer.downstream, ALL);
    if (machine == null || (bytes.length == 0 && !this.appEnded)) return;
    replaceBuffer(Buffer.downstream, bytes.length, new Bytes());
    this.hearApp(machine, bytes);
  }

  private turnAway(machine: Machine, failure: Failure, text: string): void {
    setFilterState(this.listener.fallback);
    this.connected = true;
    machine.fallback(failure, text);
    this.onFailure(machine);
  }

  private onFirstBytes(machine: Machine): void {
    this.connected = true;
    if (!isAtFallback()) return;
    const reason = connectFailure();
    const route = this.route;
    if (route == null || route.relay) machine.fallback(Failure.internal, 'the relay of sidecar-auth does not answer');
    else if (isTlsFailure(reason)) machine.fallback(Failure.tls, tlsText(route, reason));
    else machine.fallback(Failure.connect, connectText(route));
  }

  private hearApp(machine: Machine, bytes: Bytes): void {
    if (bytes.length == 0 && !this.appEnded) return;
    machine.fromApp(bytes, this.appEnded);
    this.ask(machine);
    this.countHeld(machine.heldBytes);
    if (vm.held <= HELD_BY_VM || machine.heldBytes <= HELD_BY_RIGHT) return;
    machine.overload();
    // Or all who speak before the server's next answer would be turned away for this one's bytes.
    this.countHeld(machine.heldBytes);
  }

  /** Asks sidecar-auth what the machine wants to know. */
  private ask(machine: Machine): void {
    const route = this.route;
    const question = machine.question;
    if (question == Question.none || route == null) return;
    machine.question = Question.none;
    // Other connections must not come with the same token.
    if (question == Question.rejection) this.listener.dropRoute(route);
    // Called as a connection, the request would end with it.
    actOn(this.listener.context);
    this.call = call(question, machine, route);
    actOn(this.context);
    if (this.call >= 0) vm.awaitTokenAnswer(<u32>this.call, this);
    else this.onNoAnswer(machine, route);
  }

  /** The route may be of a sidecar-auth that runs no more, or superseded. */
  private onNoAnswer(machine: Machine, route: Route): void {
    this.listener.dropRoute(route);
    machine.onNoAnswer();
  }

  private countHeld(bytes: i32): void {
    vm.held += bytes - this.held;
    this.held = bytes;
  }

  /**
   * Sends what the machine has for the server, in place of what the app has just said. False: it could not be sent, for the app has not
   * spoken yet.
   */
  private afterEvent(machine: Machine, said: Bytes = NOTHING): bool {
    const toServer = machine.toServer;
    const sent = toServer.same(said) || replaceBuffer(Buffer.downstream, said.length, toServer);
    const goesOn = sent && (toServer.length > 0 || (machine.phase == Phase.over && this.appEnded));
    this.settle(machine);
    if (goesOn) continueDownstream();
    return sent;
  }

  /** All bookkeeping before the host is called again: that call may end the connection. */
  private settle(machine: Machine): void {
    machine.toServer.clear();
    if (this.loginPending && machine.loggedIn) this.onLogin(machine);
    if (machine.phase == Phase.over) this.finish();
    else if (machine.phase >= Phase.doomed) this.onFailure(machine);
    else if (machine.phase == Phase.ready && !machine.appIsMidway) this.stopClock();
    else this.keepClock();
  }

  private onLogin(machine: Machine): void {
    this.loginPending = false;
    countLogin(this.listener, machine.mechanism);
  }

  private onFailure(machine: Machine): void {
    const route = this.route;
    if (machine.phase != Phase.closing) this.keepClock();
    else if (!this.saidFailure) this.startClock(FAREWELL);
    this.saidFailure = machine.phase == Phase.closing;
    if (this.failed || route == null || machine.failure == Failure.none) return;
    this.failed = true;
    countFailure(this.listener, machine.failure, machine.mechanism);
    log(
      Level.warn,
      `postern: ${route.terms.destination}: ${nameOf(machine.failure)}: ${clean(machine.failureText, REPLY_TEXT)}`,
    );
    // A sidecar-auth that was started anew does not know a kept route any more, and the relay says so in place of a greeting.
    if (route.relay && machine.failure == Failure.internal) this.listener.dropRoute(route);
    if (machine.failure != Failure.rejected) return;
    this.listener.dropRoute(route);
    // The machine has told of a token itself, when the server refused the first one.
    if (route.terms.byToken) return;
    actOn(this.listener.context);
    call(Question.rejection, machine, route);
    actOn(this.context);
  }

  /** From here on the bytes pass, and nothing of the login is kept. */
  private finish(): void {
    this.finished = true;
    if (this.call >= 0) vm.forgetTokenAnswer(<u32>this.call);
    this.call = -1;
    this.countHeld(0);
    this.stopClock();
    this.machine = null;
    this.route = null;
  }

  private startClock(milliseconds: i32, time: u64 = now()): void {
    this.deadline = time + <u64>milliseconds * MILLISECOND;
    if (this.watched) return;
    this.watched = true;
    vm.watch(this);
  }

  /** The clock that runs goes on: the login as a whole has one deadline. */
  private keepClock(): void {
    const route = this.route;
    if (this.deadline == 0 && route != null) this.startClock(route.deadlineMs);
  }

  private stopClock(): void {
    this.deadline = 0;
  }
}

/** The call's token, or -1. */
function call(question: Question, machine: Machine, route: Route): i64 {
  const presented = machine.presented;
  if (question == Question.rejection)
    return tellRejection(route.id, machine.refusal, machine.credentials.grant, presented);
  return presented != null ? askForExchange(route.id, presented) : -1;
}

function isTlsFailure(reason: string): bool {
  return reason.includes('TLS') || reason.includes('SSL') || reason.includes('CERTIFICATE');
}

function serverOf(route: Route): string {
  return route.addresses.length > 0 ? route.addresses[route.addresses.length - 1].toString() : '';
}

function tlsText(route: Route, reason: string): string {
  const name = route.sni.length > 0 ? route.sni.toString() : route.san.toString();
  return `no trusted TLS connection to ${name} at ${serverOf(route)}: ${plainReason(reason)}`;
}

/** BoringSSL's words without the numbers and brackets that Envoy puts around them. */
function plainReason(reason: string): string {
  const start = reason.indexOf('OPENSSL_internal:');
  const words = start < 0 ? reason : reason.slice(start + 'OPENSSL_internal:'.length);
  const end = words.indexOf(':TLS_error_end');
  return end < 0 ? words : words.slice(0, end);
}

function connectText(route: Route): string {
  return `no connection to ${serverOf(route)}`;
}
