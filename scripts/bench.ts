// npm run bench [-- --quick] [--only NAME,...] [--json FILE] [--from FILE]: measures, and writes docs/performance.md and its chart when all of
// it was measured; --from makes the page from an earlier run's file. A goal that is missed is a finding: the exit code is not 0 where a
// case fails.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { CASES, type Planned } from '../bench/cases.ts';
import { goalTable } from '../bench/console.ts';
import { isWhole, type Measurement } from '../bench/measurement.ts';
import { writePage } from '../bench/page.ts';
import { ROOT } from '../cli/paths.ts';
import { leaveNothing } from './bench-clean-up.ts';
import { measure } from './bench-measure.ts';

const say = (line: string) => console.log(`postern: ${line}`);

interface Words {
  quick: boolean;
  only?: string[];
  json: string;
  from?: string;
}

function words(): Words {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      json: { type: 'string', default: join(ROOT, 'build', 'bench.json') },
      from: { type: 'string' },
    },
  });
  const { only, ...others } = values;
  return { ...others, ...(only !== undefined && { only: only.split(',') }) };
}

function chosen(only: string[] | undefined): Planned[] {
  const names = CASES.map((planned) => planned.case.name);
  const unknown = only?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) throw new Error(`there is no case ${unknown.join(', ')}: there are ${names.join(', ')}`);
  return CASES.filter((planned) => only?.includes(planned.case.name) ?? true);
}

async function main(): Promise<number> {
  const { quick, only, json, from } = words();
  if (from !== undefined) return renew(from);
  const cases = chosen(only);
  const keep = (measurement: Measurement) => write(json, measurement);
  const measurement = await measure({ cases, quick, ...(only && { only }), say, cleanUp: leaveNothing(say), keep });
  return conclude(measurement, json);
}

function renew(file: string): number {
  const measurement = JSON.parse(readFileSync(file, 'utf8')) as Measurement;
  if (!isWhole(measurement)) throw new Error(`${file} does not hold a whole run, as docs/performance.md shows`);
  writePage(measurement);
  return 0;
}

function write(file: string, measurement: Measurement): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(measurement, undefined, 2)}\n`);
}

/** @returns the exit code */
function conclude(measurement: Measurement, json: string): number {
  console.log(goalTable(measurement.results));
  console.log();
  say(`all samples are in ${json}`);
  if (isWhole(measurement)) writePage(measurement);
  say(`docs/performance.md ${isWhole(measurement) ? 'is written' : 'stays as it is: this was not a whole run'}`);
  for (const { arm, reason } of measurement.missing) say(`left out: ${arm}: ${reason}`);
  for (const failure of measurement.failures) say(`failed: ${failure.case}: ${failure.error}`);
  return measurement.failures.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  say((error as Error).message);
  process.exitCode = 1;
}
