import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { conclude } from '../../scripts/matrix-conclude.ts';
import { markdown } from './report.ts';
import { MORE_ROWS, ROWS, type Row } from './rows.ts';
import type { Result } from './run-row.ts';

/** As runRow gives it, where all is well. */
function resultOf({ proxyType, protocol, authentication, app, variant, fault }: Row): Result {
  return {
    ...{ proxyType, protocol, authentication, app, ...(variant && { variant }) },
    ...{ ok: true, nonce: 'n', server: null, provider: null, socks: null, envoy: { cluster: 'postern-direct' } },
    negative: { delivered: false, error: 'postern: no', fault },
    problems: [],
  };
}

const ALL = [...ROWS, ...MORE_ROWS].map(resultOf);
const OWN = ROWS.map(resultOf);
const OLD = 'the old page\n';

let dir: string;
let page: string;
let said: string[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'conclude-'));
  page = join(dir, 'matrix.md');
});
beforeEach(async () => {
  said = [];
  await writeFile(page, OLD);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const code = (results: Result[], all = false) => conclude(results, { page, all, say: (line) => said.push(line) });
const written = () => readFile(page, 'utf8');

describe('what npm run matrix makes of the rows', () => {
  it('with all of them it writes the page', async () => {
    expect(code(OWN)).toBe(0);
    expect(said).toEqual(['54 of 54 rows are right']);
    expect(await written()).toBe(markdown(OWN));
  });

  it.each(OWN)('without $proxyType $protocol $authentication $app it fails, and the page stays', async (row) => {
    expect(code(OWN.filter((other) => other !== row))).toBe(1);
    const { proxyType, protocol, authentication, app } = row;
    expect(said[0]).toBe(`missing: ${proxyType} ${protocol} ${authentication} ${app}`);
    expect(await written()).toBe(OLD);
  });

  it('without a whole cell it names each of its rows; another row twice is no replacement', async () => {
    const isCell = ({ protocol, authentication }: Result) =>
      protocol === 'imaps' && authentication === 'BasicAuthentication';
    expect(code(OWN.map((row) => (isCell(row) ? (OWN[0] as Result) : row)))).toBe(1);
    expect(said).toContain('missing: Internet imaps BasicAuthentication silent');
    expect(said).toContain('missing: Internet imaps BasicAuthentication redundant');
    expect(await written()).toBe(OLD);
  });

  it('with a row that is wrong it fails, and the page stays', async () => {
    expect(code(OWN.map((row, index) => ({ ...row, ok: index !== 7 })))).toBe(1);
    expect(said).toEqual(['53 of 54 rows are right']);
    expect(await written()).toBe(OLD);
  });

  it('with --all it also misses what that adds, and the page is about the 54', async () => {
    expect(code(ALL, true)).toBe(0);
    expect(await written()).toBe(markdown(OWN));
    expect(code(OWN, true)).toBe(1);
    expect(said.filter((line) => line.startsWith('missing: '))).toHaveLength(3 * 3 * 4);
    expect(said).toContain('missing: OnPremise imaps OAuth2RefreshToken tls');
  });
});
