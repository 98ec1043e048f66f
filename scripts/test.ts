import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyBinary } from '../cli/envoy-binary.ts';
import { ROOT } from '../cli/paths.ts';
import { FILTER, PROTOCOL, wasmBuild } from '../cli/wasm-build.ts';
import { mailServers } from './lib/mail-servers.ts';
import type { Summary } from './lib/summary-reporter.ts';

/** What is no test, but must be right too: its name and whether it is. */
type Check = [name: string, isRight: boolean];

const say = (line: string) => console.log(`postern: ${line}`);

function program(name: string): string {
  return join(ROOT, 'node_modules', '.bin', name);
}

function runs(command: string, args: string[], env = process.env): boolean {
  return spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env }).status === 0;
}

async function prepares(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    say((error as Error).message);
    return false;
  }
}

/** vitest's processes find Envoy by ENVOY_BIN, so that no two of them download it. */
async function prepare(): Promise<Check[]> {
  const skip = mailServers(say);
  if (skip) process.env.POSTERN_LIVE_SKIP = skip;
  return [
    ['the filter compiles', await prepares(() => wasmBuild(FILTER, say))],
    ['the machines compile without imports', await prepares(() => wasmBuild(PROTOCOL, say))],
    [
      'Envoy is there',
      await prepares(async () => {
        process.env.ENVOY_BIN = await envoyBinary({ progress: say });
      }),
    ],
  ];
}

function checks(): Check[] {
  say('checking style and types ...');
  return [
    ['biome check', runs(program('biome'), ['check', '--error-on-warnings'])],
    ['tsc', runs(program('tsc'), ['-p', '.'])],
  ];
}

function vitest(args: string[]): Summary | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'postern-test-'));
  const file = join(folder, 'summary.json');
  const reporters = ['--reporter=default', '--reporter=./scripts/lib/summary-reporter.ts'];
  try {
    runs(program('vitest'), ['run', ...reporters, ...args], { ...process.env, POSTERN_TEST_SUMMARY: file });
    return JSON.parse(readFileSync(file, 'utf8')) as Summary;
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Checks count as tests do: a last line with `0 failed` must mean that all is well. @returns the exit code */
function conclude(done: Check[], summary: Summary | undefined): number {
  const { passed, failed, skipped } = summary ?? { passed: 0, failed: ['vitest itself'], skipped: [] };
  const wrong = [...done.filter(([, isRight]) => !isRight).map(([name]) => name), ...failed];
  if (passed + failed.length === 0) wrong.push('no test ran');
  for (const name of skipped) console.log(`skipped: ${name}`);
  for (const name of wrong) console.log(`failed: ${name}`);
  console.log(`${passed} passed, ${wrong.length} failed, ${skipped.length} skipped`);
  return wrong.length > 0 ? 1 : 0;
}

const prepared = await prepare();
process.exitCode = conclude([...prepared, ...checks()], vitest(process.argv.slice(2)));
