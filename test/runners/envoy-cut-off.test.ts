// Every dialog on real Envoy, cut off by the app at every event: `printf ... | nc -N` must never be met with silence.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Dialog, isInput, readDialogs } from './dialog.ts';
import { cutOff } from './envoy-player.ts';
import { ScriptedStage } from './envoy-scripted.ts';
import { type PlayStage, Stage } from './envoy-stage.ts';

/** Envoy, a build of the filter, a listener for each dialog. */
const START_TIMEOUT = 120_000;

/** Deadlines would take hours, and where nobody answers there is nothing to cut. */
const isPlayable = ({ events, unreachable, relay }: Dialog) =>
  !unreachable && !relay && events.every(({ kind }) => kind !== 'deadline');

const DIALOGS = (['smtp', 'imap', 'pop3'] as const).flatMap(readDialogs).filter(isPlayable);

describe.each([
  { title: 'dialogs on Envoy, cut off by the app', start: Stage.start, dialogs: DIALOGS.filter(({ token }) => !token) },
  {
    title: 'dialogs of tokens on Envoy, cut off by the app',
    start: ScriptedStage.start,
    dialogs: DIALOGS.filter(({ token }) => token),
  },
])('$title', ({ start, dialogs }) => {
  let stage: PlayStage;

  beforeAll(async () => {
    stage = await start(dialogs, 30);
  }, START_TIMEOUT);

  afterAll(() => stage?.stop());

  test.each(dialogs.map((dialog) => ({ title: `${dialog.protocol} ${dialog.name}`, dialog })))(
    '$title',
    async ({ dialog }) => {
      for (let count = 0; count <= dialog.events.length; count++) {
        if (count === 0 || isInput(dialog.events[count - 1])) await cutOff(stage, dialog, count);
      }
    },
  );
});
