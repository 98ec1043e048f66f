import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeLive } from '../live/available.ts';
import { markdown } from './report.ts';
import { ROWS } from './rows.ts';
import { type Result, runRow } from './run-row.ts';
import { type Stage, startStage } from './stage.ts';

/** Envoy, a build of the filter, and all the servers around it. */
const START_TIMEOUT = 120_000;

it('has 54 rows in 36 cells, each once', () => {
  const cells = ROWS.map(({ proxyType, protocol, authentication }) => `${proxyType} ${protocol} ${authentication}`);
  expect(new Set(cells).size).toBe(36);
  expect(new Set(ROWS.map(({ name }) => name)).size).toBe(54);
});

describeLive('The matrix', () => {
  let stage: Stage;
  const results: Result[] = [];

  beforeAll(async () => {
    stage = await startStage(ROWS);
  }, START_TIMEOUT);
  afterAll(() => stage?.close());

  it.each(ROWS)('$proxyType $protocol $authentication $app, and with a $fault', async (row) => {
    const result = await runRow(stage, row);
    results.push(result);
    expect(result.problems).toEqual([]);
  });

  it("no app's own login has reached a server", () => {
    const logs = [...stage.postfix.log(), ...stage.dovecot.log()];
    expect(logs.filter((line) => /<nobody>|=nobody\b/.test(line))).toEqual([]);
  });

  it('is what docs/matrix.md says (npm run matrix writes it anew)', () => {
    const file = new URL('../../docs/matrix.md', import.meta.url);
    expect(readFileSync(file, 'utf8')).toBe(markdown(results));
  });
});
