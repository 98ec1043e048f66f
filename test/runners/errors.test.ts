// The tables of docs/errors.md are what this test has seen. UPDATE_DOCS=1 writes them, otherwise they are compared.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Wire } from './envoy-wire.ts';
import { see } from './errors-app.ts';
import { CAUSES, DELETED, HELPER_GONE, LATER, LIMIT, PROXY_GONE, RELAY_GONE } from './errors-causes.ts';
import { type Case, ErrorStage } from './errors-stage.ts';
import { row, rowsOf, writeRows } from './errors-table.ts';

const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;
const TITLES = [...CAUSES, ...LATER].map(({ title }) => title);

/** Envoy, a build of the filter, and the longest deadline. */
const TIME_LIMIT = 120_000;

let stage: ErrorStage;
const rows = new Map<Case, string>();

async function note(cases: Case[]): Promise<void> {
  await Promise.all(cases.map(async (one) => rows.set(one, row(one.cause.title, await stage.see(one)))));
}

async function noteLimit(): Promise<void> {
  const cases = stage.casesOf(LIMIT);
  const held = await Promise.all(cases.map(({ where }) => Wire.open(where)));
  for (const wire of held) await wire.until(() => wire.received !== '', TIME_LIMIT);
  await note(cases);
  for (const wire of held) wire.destroy();
}

async function noteHelper(): Promise<void> {
  // So that the filter knows the way; without it the first row would say it all.
  await Promise.all(stage.casesOf(RELAY_GONE).map(({ where }) => see(where, [], true)));
  await stage.killHelper();
  const cases = [...stage.casesOf(HELPER_GONE), ...stage.casesOf(RELAY_GONE)];
  await note(cases);
  await stage.helperAnswers();
  // After the restart all is well again.
  for (const one of cases) await stage.until(one, false);
}

beforeAll(async () => {
  stage = await ErrorStage.start([...CAUSES, ...LATER]);
  await Promise.all([note(stage.cases.filter(({ cause }) => CAUSES.includes(cause))), noteLimit()]);
  for (const one of stage.casesOf(DELETED)) await stage.deleteDestination(one);
  for (const one of stage.casesOf(DELETED)) await stage.until(one, true);
  await note(stage.casesOf(DELETED));
  await noteHelper();
  await stage.world.proxy.close();
  await note(stage.casesOf(PROXY_GONE));
  if (process.env.UPDATE_DOCS) for (const protocol of PROTOCOLS) writeRows(protocol, rowsFor(protocol));
}, TIME_LIMIT);

afterAll(() => stage?.stop());

function rowsFor(protocol: Case['protocol']): string[] {
  return stage.cases.flatMap((one) => (one.protocol === protocol ? (rows.get(one) ?? []) : []));
}

describe.each(PROTOCOLS)('docs/errors.md: %s', (protocol) => {
  test.each(TITLES)('%s', (title) => {
    const [seen] = rowsFor(protocol).filter((line) => line.startsWith(`| ${title} |`));
    expect(seen).toBeDefined();
    expect(rowsOf(protocol)).toContain(seen);
  });

  test('has no other rows', () => expect(rowsOf(protocol)).toHaveLength(TITLES.length));
});
