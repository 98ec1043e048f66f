import { Connection } from './connection';
import { Fields, Route } from './contract';
import { askForChanges, askForRoute, changesAtHand, routeAtHand } from './helper';
import { actOn, dequeue, enqueue, Level, log, now, registerQueue, setTick, vmNumber } from './host/host';
import { CLOSED_AT_ONCE, POLL_LEAST, POLL_WAIT_FIRST, POLL_WAIT_LAST, TICK, TICK_SOON } from './limits';
import { Listener } from './listener';
import { tellMemory } from './metrics';
import { Bytes } from './protocol/bytes';
import { Failure } from './protocol/failure';
import { Table } from './table';

const MILLISECOND: u64 = 1000000;

/**
 * What the listeners of one VM (one worker thread) share. One of the listeners' root contexts, the chief, owns the VM's queue,
 * tick and poll; when it goes, another takes over.
 */
export class Vm {
  /** Bytes of apps that are held before their logins. */
  held: i32 = 0;

  private readonly listeners: Table<Listener> = new Table<Listener>();
  private readonly connections: Table<Connection> = new Table<Connection>();
  /** Listeners whose route is asked for, by the call's token. */
  private readonly calls: Table<Listener> = new Table<Listener>();
  /** Connections that wait for a token, by the call's token. */
  private readonly tokenCalls: Table<Connection> = new Table<Connection>();
  private chief: u32 = 0;
  /** 0 until the first connection: the main thread's VM has none, and needs neither queue nor poll. */
  private number: u32 = 0;
  /** Connections whose deadline may be running. */
  private watched: Connection[] = [];
  /** Connections whose attempt 1 begins now and whose attempt 2 has no target yet. */
  private attempting: Connection[] = [];
  /** Connections with a second address, until its attempt has begun. */
  private connecting: Connection[] = [];
  private queue: i64 = -1;
  /** More deadlines have come than one tick may close. */
  private overdue: bool = false;
  private tickPeriod: i32 = 0;
  private since: string = '0.0';
  private polling: i64 = -1;
  private polledAt: u64 = 0;
  /** When to poll again; 0: a poll is under way, or none is wanted. */
  private pollAt: u64 = 0;
  private pollWait: i32 = POLL_WAIT_FIRST;

  // Contexts come and go.

  addListener(context: u32): void {
    this.listeners.add(context, new Listener(context));
    if (this.chief == 0) this.chief = context;
  }

  addConnection(context: u32, root: u32): void {
    const listener = this.listeners.find(root);
    if (listener == null) return;
    listener.open += 1;
    this.connections.add(context, new Connection(context, listener));
    if (this.number == 0) this.start();
    tellMemory(this.number);
  }

  listener(context: u32): Listener | null {
    return this.listeners.find(context);
  }

  connection(context: u32): Connection | null {
    return this.connections.find(context);
  }

  remove(context: u32): void {
    const connection = this.connections.find(context);
    this.connections.remove(context);
    if (connection != null) connection.onGone();
    this.listeners.remove(context);
    if (context == this.chief) this.changeChief();
  }

  private start(): void {
    this.number = vmNumber();
    this.takeOver();
  }

  private changeChief(): void {
    const left = this.listeners.ids();
    this.chief = left.length > 0 ? left[0] : 0;
    this.tickPeriod = 0;
    if (this.chief != 0 && this.number != 0) this.takeOver();
  }

  /** The queue, the poll and the tick belong to a root context, and go with it. */
  private takeOver(): void {
    const before = actOn(this.chief);
    this.queue = registerQueue(Bytes.of(`postern.${this.number}`));
    if (this.queue < 0) log(Level.error, 'postern: no queue: connections that fail are closed without an error');
    this.poll();
    this.arm();
    actOn(before);
  }

  // Routes.

  /** False: it could not be asked for, and the connection has been told. */
  waitForRoute(connection: Connection): bool {
    const listener = connection.listener;
    if (!listener.asking) {
      const before = actOn(listener.context);
      const token = askForRoute(listener.id);
      actOn(before);
      if (token < 0) {
        connection.onNoRoute(Route.none(Failure.internal, 'sidecar-auth can not be asked'));
        return false;
      }
      this.calls.add(<u32>token, listener);
      listener.ask();
    }
    listener.waiting.push(connection);
    return true;
  }

  onCallResponse(token: u32, bodyLength: i32): void {
    if (<i64>token == this.polling) {
      this.onPolled(changesAtHand(bodyLength));
      return;
    }
    const asking = this.tokenCalls.find(token);
    this.tokenCalls.remove(token);
    if (asking != null) asking.onTokenAnswer(bodyLength);
    const listener = this.calls.find(token);
    this.calls.remove(token);
    if (listener != null) this.onRoute(listener, bodyLength);
  }

  private onRoute(listener: Listener, bodyLength: i32): void {
    const route = routeAtHand(bodyLength);
    const waiting = listener.answered(route, Bytes.of(this.since));
    for (let i = 0; i < waiting.length; i++) waiting[i].onRoute(route);
  }

  // Tokens.

  awaitTokenAnswer(token: u32, connection: Connection): void {
    this.tokenCalls.add(token, connection);
  }

  /** The connection is gone, or needs it no more. */
  forgetTokenAnswer(token: u32): void {
    this.tokenCalls.remove(token);
  }

  // Changes.

  private poll(): void {
    const before = actOn(this.chief);
    this.polledAt = now();
    this.pollAt = 0;
    this.polling = askForChanges(this.since);
    if (this.polling < 0) this.pollLater();
    actOn(before);
  }

  private onPolled(changes: Fields | null): void {
    this.polling = -1;
    if (changes == null) {
      this.pollLater();
      return;
    }
    this.pollWait = POLL_WAIT_FIRST;
    this.apply(changes);
    if (now() - this.polledAt >= POLL_LEAST * MILLISECOND) this.poll();
    else this.pollLater();
  }

  private pollLater(): void {
    this.pollAt = now() + <u64>this.pollWait * MILLISECOND;
    this.pollWait = this.pollWait * 2 > POLL_WAIT_LAST ? POLL_WAIT_LAST : this.pollWait * 2;
    this.arm();
  }

  private apply(changes: Fields): void {
    const since = changes.value('since');
    const named = changes.values('listener');
    const all = changes.has('all');
    this.since = since.toString();
    const contexts = this.listeners.ids();
    for (let i = 0; i < contexts.length; i++) {
      const listener = this.listeners.find(contexts[i]);
      if (listener == null) continue;
      if (all || isAmong(named, listener.id)) listener.changed(since);
    }
  }

  // Attempts to connect.

  /** tcp_proxy begins attempt 1 for this connection now: the queue's callback comes after that, and before any result. */
  begun(connection: Connection): void {
    this.attempting.push(connection);
    if (this.attempting.length == 1 && this.queue >= 0) enqueue(<u32>this.queue);
  }

  onQueueReady(token: u32): void {
    dequeue(token);
    this.pointAttempts();
  }

  private pointAttempts(): void {
    const begun = this.attempting;
    this.attempting = [];
    for (let i = 0; i < begun.length; i++) begun[i].onAttemptBegun();
  }

  watchAttempts(connection: Connection): void {
    this.connecting.push(connection);
    this.arm();
  }

  // Time.

  watch(connection: Connection): void {
    this.watched.push(connection);
    this.arm();
  }

  onTick(): void {
    const time = now();
    // Late, but better than never where the queue's callback was lost.
    this.pointAttempts();
    this.checkAttempts();
    this.checkDeadlines(time);
    if (this.pollAt != 0 && time >= this.pollAt) this.poll();
    this.arm();
  }

  private checkAttempts(): void {
    const connecting = this.connecting;
    this.connecting = [];
    for (let i = 0; i < connecting.length; i++) {
      if (!connecting[i].checkAttempts()) this.connecting.push(connecting[i]);
    }
  }

  private checkDeadlines(time: u64): void {
    const watched = this.watched;
    this.watched = [];
    let closed = 0;
    this.overdue = false;
    for (let i = 0; i < watched.length; i++) {
      const connection = watched[i];
      const due = connection.deadline <= time;
      if (connection.deadline == 0) {
        connection.watched = false;
      } else if (!due || closed >= CLOSED_AT_ONCE) {
        this.watched.push(connection);
        this.overdue = this.overdue || due;
      } else {
        closed += 1;
        connection.onDeadline();
      }
    }
  }

  /** A tick is armed anew by being set: only where its period changes. */
  private arm(): void {
    let period: i32 = this.watched.length > 0 || this.pollAt != 0 ? TICK : 0;
    if (this.connecting.length > 0 || this.overdue) period = TICK_SOON;
    if (period == this.tickPeriod || this.chief == 0) return;
    this.tickPeriod = period;
    const before = actOn(this.chief);
    setTick(period);
    actOn(before);
  }
}

function isAmong(ids: Bytes[], id: Bytes): bool {
  for (let i = 0; i < ids.length; i++) {
    if (ids[i].same(id)) return true;
  }
  return false;
}

export const vm: Vm = new Vm();
