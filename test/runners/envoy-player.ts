import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Dialog, type Event, matches, type Side, shown } from './dialog.ts';
import type { Place, Stage } from './envoy-stage.ts';
import { Wire } from './envoy-wire.ts';
import type { Witness } from './envoy-witness.ts';

/** Milliseconds for what must come: a deadline of 1 s, and a busy machine. */
const PATIENCE = 5000;

/** Milliseconds after which a deadline of 1 s is over for sure: the filter looks every 250 ms. */
const DEADLINE_OVER = 1600;

/** Neither a line nor text: only where nobody reads along does it pass. */
const MARKER = 'marker\0\r\xff\n\n';

const SIDES = ['server', 'app'] as const;

/** Cuts what a side says into the pieces in which Envoy reads it. */
export type Cut = (bytes: Buffer) => Buffer[];

/** Plays a dialog between an app and a server on the two sides of Envoy. */
export async function play(stage: Stage, dialog: Dialog, cut: Cut): Promise<void> {
  const place = stage.places.get(dialog);
  if (!place) throw new Error('this dialog has no place on the stage');
  const before = await stage.failures();
  const witness = await stage.witness();
  const player = await Player.start(dialog, place, witness);
  try {
    for (const [index, event] of eventsFor(dialog).entries()) await player.play(event, cut, `event ${index + 1}`);
    await player.finish();
    expect(since(before, await stage.failures()), 'failures counted').toEqual(failuresOf(dialog));
    await player.leave();
  } finally {
    player.end();
    witness.end();
  }
}

class Player {
  readonly #dialog: Dialog;
  readonly #place: Place;
  readonly #witness: Witness;
  readonly #connection: Promise<[Socket]>;
  readonly #wires: { app: Wire; server?: Wire };
  readonly #ended = new Set<Side>();
  #afterDeadline = false;

  private constructor(dialog: Dialog, place: Place, witness: Witness, connection: Promise<[Socket]>, app: Wire) {
    this.#dialog = dialog;
    this.#place = place;
    this.#witness = witness;
    this.#connection = connection;
    this.#wires = { app };
  }

  static async start(dialog: Dialog, place: Place, witness: Witness): Promise<Player> {
    const connection = once(place.server, 'connection', { signal: AbortSignal.timeout(PATIENCE) });
    // It is awaited later, or never.
    connection.catch(() => {});
    if (dialog.unreachable === 'tls') place.server.once('connection', speakPlain);
    const app = await Wire.open({ path: place.path });
    return new Player(dialog, place, witness, connection as Promise<[Socket]>, app);
  }

  async play(event: Event, cut: Cut, where: string): Promise<void> {
    const byApp = event.kind === 'says' && event.side === 'app';
    // What the app says first is there before the route is.
    if (!byApp && !this.#dialog.unreachable) await this.#reachServer();
    if (event.kind === 'says') await this.#says(event.side, cut(event.bytes));
    else if (event.kind === 'ends') this.#ends(event.side);
    else if (event.kind === 'deadline') this.#afterDeadline = true;
    else if (event.kind === 'expect') await this.#expect(event.received, where);
  }

  async #reachServer(): Promise<void> {
    if (this.#wires.server) return;
    const [socket] = await this.#connection;
    this.#wires.server = new Wire(socket);
    // From here on Envoy knows that the server has answered, and reads what the app says.
    await this.#witness.roundTrip();
  }

  /** After `over` whatever is said arrives, from both sides, and so does the end. */
  async finish(): Promise<void> {
    await this.#witness.roundTrip();
    await this.#expect({ app: '', server: '' }, 'at the end');
    if (!this.#dialog.events.some(({ kind }) => kind === 'over')) return;
    for (const side of SIDES) if (!this.#ended.has(side)) this.#wire(side).says(Buffer.from(MARKER, 'latin1'));
    const received = { app: this.#markerOf('server'), server: this.#markerOf('app') };
    await this.#expect(received, 'after "over"');
    for (const side of this.#ended) {
      const other = this.#wire(side === 'app' ? 'server' : 'app');
      expect(await other.until(() => other.ended, PATIENCE), `the end of the ${side} arrives`).toBe(true);
    }
  }

  /** The server closes, as it does after QUIT: what was said to the app must not be lost in a cut. */
  async leave(): Promise<void> {
    const { app, server } = this.#wires;
    server?.socket.end();
    expect(await app.until(() => app.ended, PATIENCE), 'the app sees the end').toBe(true);
    expect(app.broken, 'the connection of the app is cut').toBeUndefined();
  }

  end(): void {
    for (const wire of [this.#wires.app, this.#wires.server]) wire?.destroy();
  }

  #wire(side: Side): Wire {
    const wire = this.#wires[side];
    if (!wire) throw new Error(`there is no ${side} in this dialog`);
    return wire;
  }

  async #says(side: Side, pieces: Buffer[]): Promise<void> {
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) await this.#witness.roundTrip();
      this.#wire(side).says(piece);
    }
  }

  #ends(side: Side): void {
    this.#ended.add(side);
    this.#wire(side).socket.end();
  }

  #markerOf(side: Side): string {
    return this.#ended.has(side) ? '' : MARKER;
  }

  async #expect(received: Record<Side, string>, where: string): Promise<void> {
    if (this.#afterDeadline && received.app === '' && received.server === '') await sleep(DEADLINE_OVER);
    this.#afterDeadline = false;
    const sides = SIDES.filter((side) => this.#wires[side]);
    for (const side of sides) await this.#wire(side).until(() => matches(received[side], this.#heard(side)), PATIENCE);
    await this.#witness.roundTrip();
    for (const side of sides) {
      const actual = this.#heard(side);
      if (!matches(received[side], actual))
        expect(actual, `${where}: the ${side} receives`).toBe(shown(received[side]));
      this.#wire(side).take();
    }
  }

  /** Every dialog's destination is called `mail`. */
  #heard(side: Side): string {
    return this.#wire(side).received.replace(`postern: ${this.#place.name}: `, 'postern: mail: ');
  }
}

function speakPlain(socket: Socket): void {
  socket.on('error', () => {});
  socket.end('220 no TLS here\r\n');
}

/** The events as far as Envoy can show them. */
function eventsFor({ events, unreachable }: Dialog): Event[] {
  return unreachable ? withoutServer(events) : withoutEarlyFarewell(events);
}

/** Where nobody answers Envoy's own listener takes the server's part, at once: only the sum can be seen. */
function withoutServer(events: Event[]): Event[] {
  const said = events.filter((event) => event.kind === 'says' && event.side === 'app');
  const received = events.map((event) => (event.kind === 'expect' ? event.received.app : '')).join('');
  return [...said, { kind: 'expect', received: { app: anyReason(received), server: '' } }];
}

/** Envoy can send nothing to the server before the app's first byte: the machine's QUIT is dropped, the error and the close are not. */
function withoutEarlyFarewell(events: Event[]): Event[] {
  const first = events.findIndex((event) => event.kind === 'says' && event.side === 'app');
  return events.map((event, index) =>
    event.kind === 'expect' && (first < 0 || index < first)
      ? { ...event, received: { ...event.received, server: '' } }
      : event,
  );
}

/** The other runners give a reason of their own. */
function anyReason(text: string): string {
  return text.replace('nobody answered', '\u{f000}');
}

function since(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const more = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(more.filter(([, count]) => count > 0));
}

function failuresOf({ protocol, events }: Dialog): Record<string, number> {
  const codes = events.flatMap((event) => (event.kind === 'failure' ? event.code : []));
  return Object.fromEntries(codes.map((code) => [`${protocol}.${code}`, 1]));
}
