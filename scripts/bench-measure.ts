import type { Planned } from '../bench/cases.ts';
import { resultTable } from '../bench/console.ts';
import { commit, machine, versions } from '../bench/machine.ts';
import type { Measurement } from '../bench/measurement.ts';
import { installArms } from '../bench/packages.ts';
import { Stage } from '../bench/stage.ts';
import { filterBinary } from '../cli/filter-binary.ts';
import type { CleanUp } from './bench-clean-up.ts';

export interface Options {
  cases: Planned[];
  quick: boolean;
  only?: string[];
  say: (line: string) => void;
  cleanUp: CleanUp;
  /** Called after each case with what there is so far. */
  keep: (measurement: Measurement) => void;
}

/** Runs the cases one after the other. One that fails is named in the measurement, and does not keep the others from being run. */
export async function measure({ cases, quick, only, say, cleanUp, keep }: Options): Promise<Measurement> {
  const begin = Date.now();
  const date = new Date(begin).toISOString();
  const about = { date, seconds: 0, quick, ...(only && { only }), ...commit(), machine: machine() };
  const missing = installArms(say);
  for (const { arm, reason } of missing) say(`left out: ${arm}: ${reason}`);
  const progress = (line: string) => console.log(`[${clock(begin)}] ${line}`);
  // Compiled once, before anything is started.
  await filterBinary(progress);
  const stage = await Stage.open(quick, progress);
  cleanUp.stop = () => stage.close();
  const { rounds, envoy } = stage;
  const programs = await versions(envoy);
  const measurement: Measurement = { ...about, rounds, versions: programs, missing, failures: [], results: [] };
  try {
    for (const [index, planned] of cases.entries()) {
      stage.progress(`${planned.case.name}: ${index + 1} of ${cases.length}, ${left(cases.slice(index), quick)}`);
      await runCase(stage, planned, measurement);
      // The stage is being closed: what fails now says nothing, and nothing more is to be started.
      if (cleanUp.isOver) await new Promise(() => {});
      measurement.seconds = Math.round((Date.now() - begin) / 1000);
      keep(measurement);
    }
  } finally {
    if (!cleanUp.isOver) await stage.close();
  }
  return measurement;
}

async function runCase(stage: Stage, planned: Planned, { results, failures }: Measurement): Promise<void> {
  try {
    const own = await planned.case.run(stage);
    results.push(...own);
    for (const result of own) console.log(resultTable(result));
    console.log();
  } catch (error) {
    failures.push({ case: planned.case.name, error: (error as Error).message });
    stage.progress(`${planned.case.name} failed: ${(error as Error).message}`);
  } finally {
    await stage.clear().catch((error: Error) => stage.progress(`an arm did not stop: ${error.message}`));
  }
}

/** `12:05`, minutes and seconds since then. */
function clock(begin: number): string {
  const seconds = Math.floor((Date.now() - begin) / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')}`;
}

function left(cases: Planned[], quick: boolean): string {
  const seconds = cases.reduce((sum, planned) => sum + (quick ? planned.quickSeconds : planned.seconds), 0);
  return `about ${Math.ceil(seconds / 60)} min left`;
}
