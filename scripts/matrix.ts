// npm run matrix [-- [--all] [--json FILE]]: plays the matrix and writes docs/matrix.md. The exit code is not 0 unless every row is there and right.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../cli/paths.ts';
import { skipReason } from '../test/live/skip-reason.ts';
import { MORE_ROWS, ROWS, type Row } from '../test/matrix/rows.ts';
import { type Result, runRow } from '../test/matrix/run-row.ts';
import { startStage } from '../test/matrix/stage.ts';
import { mailServers } from './lib/mail-servers.ts';
import { conclude } from './matrix-conclude.ts';

const say = (line: string) => console.log(`postern: ${line}`);

function words(): { all: boolean; json?: string } {
  const { values } = parseArgs({ options: { all: { type: 'boolean', default: false }, json: { type: 'string' } } });
  return values;
}

async function main(): Promise<number> {
  const { all, json } = words();
  const rows = all ? [...ROWS, ...MORE_ROWS] : ROWS;
  const reason = mailServers(say) ?? skipReason();
  if (reason) {
    say(`${rows.length} rows are missing: ${reason}`);
    return 1;
  }
  const results = await play(rows);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, undefined, 2)}\n`);
  return conclude(results, { page: join(ROOT, 'docs', 'matrix.md'), all, say });
}

async function play(rows: Row[]): Promise<Result[]> {
  say('starting Envoy, the mail servers, an OpenID provider, a Destination service and a Connectivity Proxy');
  const stage = await startStage(rows);
  const results: Result[] = [];
  try {
    for (const row of rows) {
      const result = await runRow(stage, row);
      results.push(result);
      console.log(line(row, result));
    }
  } finally {
    await stage.close();
  }
  return results;
}

function line({ proxyType, protocol, authentication, app, variant }: Row, { ok, problems }: Result): string {
  const cells = [proxyType.padEnd(9), protocol.padEnd(5), authentication.padEnd(23), app.padEnd(9), variant ?? ''];
  return [`${ok ? 'ok  ' : 'BAD '} ${cells.join(' ').trimEnd()}`, ...problems.map((text) => `     ${text}`)].join('\n');
}

try {
  process.exitCode = await main();
} catch (error) {
  say((error as Error).message);
  process.exitCode = 1;
}
