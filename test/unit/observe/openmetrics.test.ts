import { expect, it } from 'vitest';
import { Counter, Gauge, Histogram } from '../../../sidecar-auth/observe/meters.ts';
import { type Family, openMetrics } from '../../../sidecar-auth/observe/openmetrics.ts';
import { readOpenMetrics, valuesOf } from './check.ts';

it('nothing at all is still a whole text', () => {
  expect(openMetrics([])).toBe('# EOF\n');
  expect(openMetrics([new Counter('none', 'Nothing was counted.').family()])).toBe('# EOF\n');
});

it('counts by labels; an empty label is none', () => {
  const counter = new Counter('logins', 'Logins.');
  counter.add({ destination: 'a', tenant: '' });
  counter.add({ destination: 'a', tenant: '' }, 2);
  counter.add({ destination: 'b', tenant: 't' });
  const text = openMetrics([counter.family()]);
  expect(text).toBe(
    '# TYPE logins counter\n# HELP logins Logins.\nlogins_total{destination="a"} 3\nlogins_total{destination="b",tenant="t"} 1\n# EOF\n',
  );
  readOpenMetrics(text);
});

it('a gauge is set, cleared, and forgotten with its destination', () => {
  const gauge = new Gauge('open', 'Open.');
  for (const destination of ['a', 'b', 'c']) gauge.set({ destination }, 1);
  gauge.set({ destination: 'a' }, 7);
  gauge.clear({ destination: 'b' });
  gauge.keep(({ destination }) => destination !== 'c');
  expect(valuesOf(readOpenMetrics(openMetrics([gauge.family()])), 'open')).toEqual([[{ destination: 'a' }, 7]]);
});

it('times fall into the buckets up to their bound', () => {
  const times = new Histogram('phase_seconds', 'Time.');
  for (const seconds of [0, 0.005, 0.1, 0.11, 99]) times.observe({ phase: 'tls' }, seconds);
  const families = readOpenMetrics(openMetrics([times.family()]));
  expect(families.get('phase_seconds')?.unit).toBe('seconds');
  const buckets = valuesOf(families, 'phase_seconds')?.filter(([{ le }]) => le !== undefined);
  expect(buckets?.map(([{ le }, count]) => [le, count])).toEqual([
    ['0.005', 2],
    ['0.025', 2],
    ['0.1', 3],
    ['0.5', 4],
    ['2.5', 4],
    ['10.0', 4],
    ['+Inf', 5],
  ]);
});

it('any name survives', () => {
  const destination = 'a"b\\c\nd}e,f="g" {ü} \\n';
  const family: Family = { name: 'odd', type: 'gauge', help: 'A "quoted" \\ help\nof two lines.', samples: [] };
  family.samples.push({ labels: { destination }, value: 1e-9 });
  const read = readOpenMetrics(openMetrics([family]));
  expect(valuesOf(read, 'odd')).toEqual([[{ destination }, 1e-9]]);
  expect(read.get('odd')?.help).toBe(family.help);
});

it.each([
  ['no end', 'a 1\n'],
  ['a sample without its family', 'a 1\n# EOF\n'],
  ['a counter without _total', '# TYPE a counter\n# HELP a A.\na 1\n# EOF\n'],
  ['a series twice', '# TYPE a gauge\n# HELP a A.\na{x="1"} 1\na{x="1"} 2\n# EOF\n'],
  ['a family twice', '# TYPE a gauge\n# HELP a A.\na 1\n# TYPE a gauge\n# HELP a A.\na 1\n# EOF\n'],
  ['a line feed in a label', '# TYPE a gauge\n# HELP a A.\na{x="1\n"} 1\n# EOF\n'],
  ['a wrong unit', '# TYPE a gauge\n# UNIT a seconds\n# HELP a A.\na 1\n# EOF\n'],
  [
    'a falling bucket',
    '# TYPE a histogram\n# HELP a A.\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\na_sum 1\n# EOF\n',
  ],
])('the checker refuses %s', (_, text) => {
  expect(() => readOpenMetrics(text)).toThrow();
});
