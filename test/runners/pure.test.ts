import { describe, expect, test } from 'vitest';
import { type Dialog, type Event, isInput, matches, readDialogs, shown } from './dialog.ts';
import { questionOf } from './helper-events.ts';
import { PureMachine } from './pure-machine.ts';

const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;

/** Cuts what a side says into the pieces in which it arrives. */
type Cut = (bytes: Buffer) => Buffer[];

const whole: Cut = (bytes) => [bytes];
const byteByByte: Cut = (bytes) => [...bytes].map((byte) => Buffer.from([byte]));
const splitAt =
  (offset: number): Cut =>
  (bytes) =>
    offset < bytes.length ? [bytes.subarray(0, offset), bytes.subarray(offset)] : [bytes];

class Player {
  readonly machine: PureMachine;
  readonly received = { app: '', server: '' };
  /** What it asked of sidecar-auth, and no event has expected yet. */
  asked: { path: string; body: string } | undefined;
  private readonly cut: Cut;

  constructor(dialog: Dialog, cut: Cut) {
    this.machine = new PureMachine(dialog);
    this.cut = cut;
    if (dialog.unreachable) this.machine.fallback(dialog.unreachable, 'nobody answered');
  }

  play(event: Event): void {
    if (event.kind === 'says') this.says(event.side, event.bytes);
    else if (event.kind === 'ends') this.collect(event.side, () => this.machine.ends(event.side));
    else if (event.kind === 'deadline') this.collect('app', () => this.machine.deadline());
    else if (event.kind === 'answers')
      this.collect('app', () => this.machine.answers(event.status, event.bodyFor('route1')));
  }

  check(event: Event): void {
    if (event.kind === 'over') expect(this.machine.over, 'is over').toBe(true);
    if (event.kind === 'failure') expect(this.machine.failure).toBe(event.code);
    if (event.kind === 'asked') this.checkAsked(event);
    if (event.kind !== 'expect') return;
    for (const side of ['server', 'app'] as const) {
      const actual = this.received[side];
      if (!matches(event.received[side], actual)) expect(actual, `${side} receives`).toBe(shown(event.received[side]));
      this.received[side] = '';
    }
  }

  private checkAsked({ path, fields }: Event & { kind: 'asked' }): void {
    expect(this.asked && questionOf(this.asked.path, this.asked.body, 'route1')).toEqual({ path, fields });
    this.asked = undefined;
  }

  private says(side: 'app' | 'server', bytes: Buffer): void {
    for (const piece of this.cut(bytes)) {
      const other = side === 'app' ? 'server' : 'app';
      // The caller stops asking once the machine is over: the bytes pass.
      if (this.machine.over) this.received[other] += piece.toString('latin1');
      else this.collect(side, () => this.machine.says(side, piece));
    }
  }

  private collect(side: 'app' | 'server', act: () => void): void {
    act();
    this.asked = this.machine.question() ?? this.asked;
    const toApp = this.machine.take('app');
    // Envoy puts bytes in for the app only while the server's bytes pass.
    if (side === 'app') expect(toApp, 'said to the app outside an event of the server').toBe('');
    this.received.app += toApp;
    this.received.server += this.machine.take('server');
  }
}

function play(dialog: Dialog, cut: Cut): void {
  const player = new Player(dialog, cut);
  for (const event of dialog.events) {
    if (isInput(event)) expect(player.asked, 'asked of sidecar-auth').toBeUndefined();
    player.play(event);
    player.check(event);
  }
  expect(player.asked, 'asked of sidecar-auth').toBeUndefined();
}

/** The app closes its sending side after `count` events; whatever comes, it must not be left without a word. */
function cutOff(dialog: Dialog, count: number): void {
  const player = new Player(dialog, whole);
  for (const event of dialog.events.slice(0, count)) player.play(event);
  if (player.machine.over || player.machine.closing) return;
  player.received.app = '';
  player.received.server = '';
  player.play({ kind: 'ends', side: 'app' });
  for (const event of dialog.events.slice(count)) {
    if (event.kind === 'says' && event.side === 'server') player.play(event);
  }
  player.play({ kind: 'ends', side: 'server' });
  const { over, closing, failure } = player.machine;
  expect(over || closing, 'ends').toBe(true);
  const told = [...player.received.app.matchAll(/postern: \S+: (\w+)/g)].map(([, code]) => code ?? '');
  // A login of the app that is refused is no failure yet: the connection stays. The third one is.
  const failed = failure !== 'none' && failure !== 'app_login';
  expect(told.filter((code) => code !== 'app_login')).toHaveLength(failed ? 1 : 0);
  if (failure === 'app_login') expect(told).toContain('app_login');
}

describe.each(PROTOCOLS)('%s dialogs on the pure machine', (protocol) => {
  test.each(readDialogs(protocol))('$name', (dialog) => {
    play(dialog, whole);
    play(dialog, byteByByte);
    const longest = Math.max(0, ...dialog.events.map((event) => (event.kind === 'says' ? event.bytes.length : 0)));
    // A long piece is one repeated character: its first thousand offsets and its last say it all.
    for (let offset = 1; offset < Math.min(longest, 1000); offset++) play(dialog, splitAt(offset));
    for (let offset = Math.max(1000, longest - 100); offset < longest; offset++) play(dialog, splitAt(offset));
  });

  test.each(readDialogs(protocol))('$name, cut off by the app at every event', (dialog) => {
    for (let count = 0; count <= dialog.events.length; count++) {
      if (count === 0 || isInput(dialog.events[count - 1])) cutOff(dialog, count);
    }
  });
});
