// Every dialog on real Envoy, cut off by the app at every event: `printf ... | nc -N` must never be met with silence.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Dialog, isInput, readDialogs } from './dialog.ts';
import { cutOff } from './envoy-player.ts';
import { Stage } from './envoy-stage.ts';

/** Envoy, a build of the filter, a listener for each dialog. */
const START_TIMEOUT = 120_000;

/** Deadlines would take hours, and where nobody answers there is nothing to cut. */
const isPlayable = ({ events, unreachable }: Dialog) => !unreachable && events.every(({ kind }) => kind !== 'deadline');

const DIALOGS = (['smtp', 'imap', 'pop3'] as const).flatMap(readDialogs).filter(isPlayable);

describe('dialogs on Envoy, cut off by the app', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.start(DIALOGS, 30);
  }, START_TIMEOUT);

  afterAll(() => stage?.stop());

  test.each(DIALOGS.map((dialog) => ({ title: `${dialog.protocol} ${dialog.name}`, dialog })))(
    '$title',
    async ({ dialog }) => {
      for (let count = 0; count <= dialog.events.length; count++) {
        if (count === 0 || isInput(dialog.events[count - 1])) await cutOff(stage, dialog, count);
      }
    },
  );
});
