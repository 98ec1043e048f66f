// Every dialog on real Envoy: a scripted app, Envoy with the filter, sidecar-auth, a scripted server.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Dialog, readDialogs } from './dialog.ts';
import { type Cut, play, whole } from './envoy-player.ts';
import { ScriptedStage } from './envoy-scripted.ts';
import { type PlayStage, Stage } from './envoy-stage.ts';
import type { Witness } from './envoy-witness.ts';

/** Envoy, a build of the filter, a listener for each dialog. */
const START_TIMEOUT = 120_000;

const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;
const ALL = PROTOCOLS.flatMap(readDialogs);

/** A longer piece is one repeated character: what is to be seen is seen before. */
const BYTES = 400;

const byteByByte: Cut = (bytes) => {
  const first = [...bytes.subarray(0, BYTES)].map((byte) => Buffer.from([byte]));
  return bytes.length > BYTES ? [...first, bytes.subarray(BYTES)] : first;
};

/** sidecar-auth is a script in them. */
const DIALOGS = ALL.filter(({ token }) => !token);
const SCRIPTED = ALL.filter(({ token }) => token);

const hasDeadline = ({ events }: Dialog) => events.some(({ kind }) => kind === 'deadline');
const isTimeless = (dialog: Dialog) => !hasDeadline(dialog);

/** What a login in a file must not have. */
const FORBIDDEN = ['\r', '\n', '\0', '\x01'];

/** Why real sockets and files can't produce a dialog's state; undefined where they can. */
function skipReason({ unreachable, login, app, events, relay }: Dialog): string | undefined {
  if (relay) return 'errors.test.ts shows it, with the real relay';
  const values = [login, app].flatMap((pair) => (pair ? [pair.user, pair.password] : []));
  if (values.some((value) => FORBIDDEN.some((octet) => value.includes(octet))))
    return 'such a login is refused at load';
  if (unreachable && !['connect', 'tls'].includes(unreachable)) return 'errors.test.ts shows it, with its real cause';
  const [first] = events.filter(
    (event) => event.kind === 'deadline' || (event.kind === 'says' && event.side === 'app'),
  );
  const fails = events.some(({ kind }) => kind === 'failure');
  if (first?.kind === 'deadline' && fails) return 'Envoy can send nothing before the app has spoken, and closes';
  return undefined;
}

describe.each([
  { title: 'dialogs on Envoy', start: Stage.start, dialogs: DIALOGS.filter(isTimeless), loginTimeout: 30 },
  {
    title: 'dialogs with a deadline on Envoy',
    start: Stage.start,
    dialogs: DIALOGS.filter(hasDeadline),
    loginTimeout: 1,
  },
  {
    title: 'dialogs of tokens on Envoy',
    start: ScriptedStage.start,
    dialogs: SCRIPTED.filter(isTimeless),
    loginTimeout: 30,
  },
  {
    title: 'dialogs of tokens with a deadline on Envoy',
    start: ScriptedStage.start,
    dialogs: SCRIPTED.filter(hasDeadline),
    loginTimeout: 1,
  },
])('$title', ({ start, dialogs, loginTimeout }) => {
  const playable = dialogs.filter((dialog) => !skipReason(dialog));
  let stage: PlayStage;
  let lasting: Witness;

  beforeAll(async () => {
    stage = await start(playable, loginTimeout);
    lasting = await stage.witness();
  }, START_TIMEOUT);

  afterAll(async () => {
    lasting?.end();
    await stage?.stop();
  });

  for (const dialog of dialogs) {
    const reason = skipReason(dialog);
    const title = `${dialog.protocol} ${dialog.name}`;
    test.skipIf(reason)(reason ? `${title} (skipped: ${reason})` : title, async () => {
      // The second time the filter has a kept route.
      await play(stage, dialog, whole);
      await play(stage, dialog, byteByByte);
    });
  }

  test('a session that was open all the while goes on', () => lasting.roundTrip());
});
