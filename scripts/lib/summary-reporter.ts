import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export interface Summary {
  passed: number;
  /** Names; a file that could not be loaded and an error outside of tests count as one each. */
  failed: string[];
  /** Names, with the reason where the test gives one. */
  skipped: string[];
}

/** A vitest reporter that writes a Summary into the file that POSTERN_TEST_SUMMARY names. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<{ message: string }>): void {
    const file = process.env.POSTERN_TEST_SUMMARY;
    if (file) writeFileSync(file, JSON.stringify(summarize(modules, errors)));
  }
}

function summarize(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<{ message: string }>): Summary {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const of = (state: string) => tests.filter((test) => test.result().state === state);
  return {
    passed: of('passed').length,
    failed: [
      ...of('failed').map(name),
      ...modules.flatMap((module) => module.errors().map((error) => `${module.relativeModuleId}: ${error.message}`)),
      ...modules.flatMap(brokenSuites),
      ...errors.map((error) => error.message),
    ],
    skipped: [...of('skipped'), ...of('pending')].map(name),
  };
}

/** Their beforeAll or afterAll failed. */
function brokenSuites(module: TestModule): string[] {
  return [...module.children.allSuites()]
    .filter((suite) => suite.errors().length > 0)
    .map((suite) => `${module.relativeModuleId}: ${suite.fullName}: ${suite.errors()[0]?.message}`);
}

function name(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' && result.note ? ` (${result.note})` : '';
  return `${test.module.relativeModuleId}: ${test.fullName}${note}`;
}
