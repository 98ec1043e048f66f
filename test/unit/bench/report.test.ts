import { expect, test } from 'vitest';
import { svg } from '../../../bench/chart.ts';
import { goalTable, resultTable } from '../../../bench/console.ts';
import { figure } from '../../../bench/format.ts';
import { isWhole } from '../../../bench/measurement.ts';
import { markdown } from '../../../bench/report.ts';
import { MEASUREMENT, SESSIONS } from './measurement.ts';

// As it comes from a file: what was not measured is null there.
const stored = JSON.parse(JSON.stringify(MEASUREMENT)) as typeof MEASUREMENT;

function line(text: string, start: string): string | undefined {
  return text.split('\n').find((each) => each.trimStart().startsWith(start));
}

test('three digits count', () => {
  expect([0.1234, 9.999, 12.345, 123.4, 1234567, Number.NaN].map(figure)).toEqual([
    '0.12',
    '10.00',
    '12.3',
    '123',
    '1,234,567',
    '-',
  ]);
});

test('a goal is reached, missed, or not measured', () => {
  const page = markdown(stored);
  expect(line(page, '| CPU against plain')).toBe('| CPU against plain Envoy | ≤ 1.05 | 1.100 (1.000–1.200) | MISSED |');
  expect(line(page, '| sessions/s against')).toContain('| ≥ 1 | 1.000 (1.000–1.000) | reached |');
  expect(line(page, '| CPU against nginx')).toBe('| CPU against nginx | ≤ 0.9 | - | not measured |');
  expect(line(page, '| CPU as it is')).toContain('| ≤ 300 | 220 (120–400) | reached |');
  expect(line(goalTable(stored.results), 'CPU against plain')).toContain('MISSED');
});

test('goals come before results', () => {
  const page = markdown(stored);
  expect(page.indexOf('## Goals')).toBeLessThan(page.indexOf('## Results'));
});

test('the page tells what was measured, where, and what is missing', () => {
  const page = markdown(stored);
  expect(page).toContain(`**Commit**: ${MEASUREMENT.commit}\n`);
  expect(page).toContain('Some Processor, 2 processors, 7.8 GiB of memory, Linux 6.1.0');
  expect(page).toContain('Envoy 1.40.0, Node 24.0.0');
  expect(page).toContain('**Left out**: nginx: nginx and its mail module need root');
  expect(markdown({ ...stored, dirty: true })).toContain('with changes that are not committed');
});

test('an arm has its figures and the ratio to its base; shares of the machine have none', () => {
  const page = markdown(stored);
  expect(page).toContain('| postern | 220 (120–400) ×1.10 | 1,500 (1,000–2,000) ×1.00 | 21.0 (20.0–22.0) |');
  expect(page).toContain('| direct | 4,000 (4,000–4,000) | 40.0 (40.0–40.0) | 35.0 (35.0–35.0) |');
  const text = resultTable(SESSIONS);
  expect(line(text, 'postern')?.split(/ {2,}/).slice(2)).toEqual([
    ...['CPU per session, µs', '120', '220', '400'],
    ...['1.000', '1.100', '1.200', 'of envoy'],
  ]);
  expect(line(text, 'nginx is left out')).toBeDefined();
});

test('the chart has a bar of CPU and one of rate for each arm, but no CPU where there is no proxy', () => {
  const chart = svg(stored);
  expect(chart.match(/class="bar/g)).toHaveLength(5);
  expect(chart.match(/class="bar own"/g)).toHaveLength(2);
  expect(chart).not.toContain('NaN');
});

test('only a whole run is one for the page', () => {
  expect(isWhole(stored)).toBe(true);
  expect(isWhole({ ...stored, quick: true })).toBe(false);
  expect(isWhole({ ...stored, only: ['bulk'] })).toBe(false);
  expect(isWhole({ ...stored, failures: [{ case: 'bulk', error: 'no' }] })).toBe(false);
});
