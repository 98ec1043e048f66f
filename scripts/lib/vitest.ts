import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../cli/paths.ts';
import type { Summary } from './summary-reporter.ts';

/** What is no test, but must be right too: its name and whether it is. */
export type Check = [name: string, isRight: boolean];

export function program(name: string): string {
  return join(ROOT, 'node_modules', '.bin', name);
}

export function runs(command: string, args: string[], env = process.env): boolean {
  return spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env }).status === 0;
}

/** @returns undefined where vitest itself failed */
export function vitest(args: string[]): Summary | undefined {
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
export function conclude(done: Check[], summary: Summary | undefined): number {
  const { passed, failed, skipped } = summary ?? { passed: 0, failed: ['vitest itself'], skipped: [] };
  const wrong = [...done.filter(([, isRight]) => !isRight).map(([name]) => name), ...failed];
  if (passed + failed.length + skipped.length === 0) wrong.push('no test ran');
  for (const name of skipped) console.log(`skipped: ${name}`);
  for (const name of wrong) console.log(`failed: ${name}`);
  console.log(`${passed} passed, ${wrong.length} failed, ${skipped.length} skipped`);
  return wrong.length > 0 ? 1 : 0;
}
