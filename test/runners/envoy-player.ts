import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Dialog, type Event, matches, type Side, shown } from './dialog.ts';
import { eventsFor } from './envoy-events.ts';
import type { Place, PlayStage } from './envoy-stage.ts';
import { Wire } from './envoy-wire.ts';
import type { Witness } from './envoy-witness.ts';
import type { ScriptedHelper } from './scripted-helper.ts';

/** Milliseconds for what must come: a deadline of 1 s, and a busy machine. */
const PATIENCE = 5000;

/** Milliseconds after which a deadline of 1 s is over for sure: the filter looks every 250 ms. */
const DEADLINE_OVER = 1600;

/** Neither a line nor text: only where nobody reads along does it pass. */
const MARKER = 'marker\0\r\xff\n\n';

const SIDES = ['server', 'app'] as const;

/** Cuts what a side says into the pieces in which Envoy reads it. */
export type Cut = (bytes: Buffer) => Buffer[];

export const whole: Cut = (bytes) => [bytes];

/** Plays a dialog between an app and a server on the two sides of Envoy. */
export function play(stage: PlayStage, dialog: Dialog, cut: Cut): Promise<void> {
  return perform(stage, dialog, async (player, failures) => {
    for (const [index, event] of eventsFor(dialog).entries()) await player.play(event, cut, `event ${index + 1}`);
    await player.finish();
    expect(await failures(), 'failures counted').toEqual(failuresOf(dialog));
    await player.leave();
  });
}

/**
 * The app closes its sending side after the first `count` events. It must get one error where something failed, and where nothing did the
 * server's bytes still pass; and it must see the end.
 */
export function cutOff(stage: PlayStage, dialog: Dialog, count: number): Promise<void> {
  return perform(stage, dialog, async (player, failures) => {
    await player.cutOff(eventsFor(dialog), count);
    const { received, marked } = player;
    const codes = Object.keys(await failures()).map((name) => name.replace(/^.*\./, ''));
    const where = `cut off after ${count} events, with the failures [${codes}], the app receives ${received}`;
    const told = [...received.matchAll(/postern: \S+: (\w+)/g)].map(([, code]) => code);
    // A login of the app that is refused is no failure yet: the connection stays. The third one is.
    const isFailure = (code: string | undefined) => code !== 'app_login';
    expect(told.filter(isFailure), where).toHaveLength(codes.filter(isFailure).length);
    if (codes.includes('app_login')) expect(told, where).toContain('app_login');
    if (codes.length === 0 && marked) expect(received.endsWith(MARKER), where).toBe(true);
  });
}

/** The failures that were counted since the start. */
type Failures = () => Promise<Record<string, number>>;

async function perform(
  stage: PlayStage,
  dialog: Dialog,
  act: (player: Player, failures: Failures) => Promise<void>,
): Promise<void> {
  const place = stage.places.get(dialog);
  if (!place) throw new Error('this dialog has no place on the stage');
  const before = await stage.failures();
  const witness = await stage.witness();
  stage.helper?.forget(place.name);
  const player = await Player.start({ dialog, place, witness, helper: stage.helper });
  try {
    await act(player, async () => since(before, await stage.failures()));
  } finally {
    player.end();
    witness.end();
  }
}

/** What a dialog is played on, and who takes part. */
interface Scene {
  dialog: Dialog;
  place: Place;
  witness: Witness;
  /** Undefined where sidecar-auth itself runs. */
  helper: ScriptedHelper | undefined;
}

class Player {
  readonly #dialog: Dialog;
  readonly #place: Place;
  readonly #witness: Witness;
  readonly #helper: ScriptedHelper | undefined;
  readonly #connection: Promise<[Socket]>;
  readonly #wires: { app: Wire; server?: Wire };
  readonly #ended = new Set<Side>();
  #afterDeadline = false;
  /** The server ended with the marker. */
  marked = false;

  private constructor({ dialog, place, witness, helper }: Scene, connection: Promise<[Socket]>, app: Wire) {
    this.#dialog = dialog;
    this.#place = place;
    this.#witness = witness;
    this.#helper = helper;
    this.#connection = connection;
    this.#wires = { app };
  }

  static async start(scene: Scene): Promise<Player> {
    const { dialog, place } = scene;
    const connection = once(place.server, 'connection', { signal: AbortSignal.timeout(PATIENCE) });
    // It is awaited later, or never.
    connection.catch(() => {});
    if (dialog.unreachable === 'tls') place.server.once('connection', speakPlain);
    const app = await Wire.open({ path: place.path });
    return new Player(scene, connection as Promise<[Socket]>, app);
  }

  async play(event: Event, cut: Cut, where: string): Promise<void> {
    const byApp = event.kind === 'says' && event.side === 'app';
    // What the app says first is there before the route is.
    if (!byApp && !this.#dialog.unreachable) await this.#reachServer();
    if (event.kind === 'says') await this.#says(event.side, cut(event.bytes));
    else if (event.kind === 'ends') this.#ends(event.side);
    else if (event.kind === 'deadline') this.#afterDeadline = true;
    else if (event.kind === 'expect') await this.#expect(event.received, where);
    else if (event.kind === 'asked') await this.#checkAsked(event, where);
    else if (event.kind === 'answers') this.#answers(event);
  }

  async #checkAsked({ path, fields }: Event & { kind: 'asked' }, where: string): Promise<void> {
    const asked = await this.#helper?.asked(this.#place.name, PATIENCE);
    expect(asked, `${where}: asked of sidecar-auth`).toEqual({ path, fields });
  }

  #answers({ status, bodyFor }: Event & { kind: 'answers' }): void {
    this.#helper?.answer(this.#place.name, status, bodyFor(this.#place.name));
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
    expect(this.#helper?.isSurprised(this.#place.name) ?? false, 'asked of sidecar-auth at the end').toBe(false);
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

  /** Only what is said counts, until the app ends; from then on what the server says. */
  async cutOff(events: Event[], count: number): Promise<void> {
    await this.#playUnseen(events.slice(0, count));
    if (!this.#ended.has('app')) await this.#playUnseen([{ kind: 'ends', side: 'app' }]);
    await this.#playUnseen(events.slice(count).filter((event) => event.kind === 'says' && event.side === 'server'));
    this.marked = this.#wires.server !== undefined && !this.#ended.has('server');
    if (this.marked) this.#wire('server').says(Buffer.from(MARKER, 'latin1'));
    await this.leave();
  }

  get received(): string {
    return this.#heard('app');
  }

  end(): void {
    for (const wire of [this.#wires.app, this.#wires.server]) wire?.destroy();
  }

  async #playUnseen(events: Event[]): Promise<void> {
    for (const event of events) {
      if (event.kind === 'expect') continue;
      await this.play(event, whole, '');
      await this.#witness.roundTrip();
    }
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
    return this.#wire(side).received.replaceAll(`postern: ${this.#place.name}: `, 'postern: mail: ');
  }
}

function speakPlain(socket: Socket): void {
  socket.on('error', () => {});
  socket.end('220 no TLS here\r\n');
}

function since(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const more = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(more.filter(([, count]) => count > 0));
}

function failuresOf({ protocol, events }: Dialog): Record<string, number> {
  const codes = events.flatMap((event) => (event.kind === 'failure' ? event.code : []));
  return Object.fromEntries(codes.map((code) => [`${protocol}.${code}`, 1]));
}
