// A strict reader of OpenMetrics 1.0, by its specification and not by the writer: whatever it does not know is an error.

export interface Read {
  type: string;
  unit?: string;
  help?: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
}

const SUFFIXES: Record<string, RegExp> = {
  counter: /^_total$/,
  gauge: /^$/,
  histogram: /^_(bucket|count|sum)$/,
};

/** @throws Error where the text breaks a rule */
export function readOpenMetrics(text: string): Map<string, Read> {
  const families = new Map<string, Read>();
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.pop() !== '# EOF') throw new Error('the text must end with # EOF and one line feed');
  let current: [string, Read] | undefined;
  for (const line of lines) {
    const [, kind, name = '', rest = ''] = /^# (TYPE|UNIT|HELP) ([a-zA-Z_:][\w:]*) (.*)$/.exec(line) ?? [];
    if (kind === 'TYPE') {
      if (families.has(name)) throw new Error(`${name} stands twice`);
      if (!SUFFIXES[rest]) throw new Error(`${line}: no type that is used here`);
      current = [name, { type: rest, samples: [] }];
      families.set(...current);
    } else if (kind === undefined) {
      if (!current) throw new Error(`${line}: before any family`);
      current[1].samples.push(readSample(line, ...current));
    } else {
      if (current?.[0] !== name || current[1].samples.length > 0) throw new Error(`${line}: out of place`);
      if (kind === 'UNIT') current[1].unit = rest;
      else current[1].help = unescaped(rest);
    }
  }
  for (const [name, family] of families) check(name, family);
  return families;
}

function readSample(line: string, family: string, { type }: Read): Read['samples'][number] {
  const [, name = '', pairs, number = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (!name.startsWith(family) || !SUFFIXES[type]?.test(name.slice(family.length)))
    throw new Error(`${line}: no sample of a ${type} ${family}`);
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(number)) throw new Error(`${line}: no number`);
  return { name, labels: readLabels(pairs ?? '', line), value: Number(number) };
}

function readLabels(pairs: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const pair = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;
  while (pair.lastIndex < pairs.length) {
    const [, name = '', value = ''] = pair.exec(pairs) ?? [];
    if (name === '' || name in labels || value === '') throw new Error(`${line}: bad labels`);
    labels[name] = unescaped(value);
  }
  return labels;
}

function unescaped(text: string): string {
  return text.replace(/\\([\\"n])/g, (_, character) => (character === 'n' ? '\n' : character));
}

function check(name: string, { type, unit, help, samples }: Read): void {
  if (samples.length === 0) throw new Error(`${name} has no samples`);
  if (!help) throw new Error(`${name} has no help`);
  if (unit !== undefined && !name.endsWith(`_${unit}`)) throw new Error(`${name} must end in its unit`);
  if (type === 'counter' && samples.some(({ value }) => value < 0)) throw new Error(`${name} is below 0`);
  const seen = samples.map(({ name, labels }) => JSON.stringify([name, Object.entries(labels).sort()]));
  if (new Set(seen).size < seen.length) throw new Error(`${name} has one series twice`);
  if (type === 'histogram') checkHistogram(name, samples);
}

function checkHistogram(name: string, samples: Read['samples']): void {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels));
  for (const [labels, parts] of series) {
    const buckets = parts.filter(({ labels }) => labels.le !== undefined);
    const bounds = buckets.map(({ labels: { le = '' } }) => (le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le)));
    const counts = buckets.map(({ value }) => value);
    const rises = (values: number[]) =>
      values.every((value, index) => index === 0 || value >= (values[index - 1] ?? 0));
    const count = parts.find((sample) => sample.name.endsWith('_count'))?.value;
    const whole = bounds.at(-1) === Number.POSITIVE_INFINITY && counts.at(-1) === count;
    if (!rises(bounds) || !rises(counts) || !whole || parts.length !== buckets.length + 2)
      throw new Error(`${name} ${labels} is no histogram`);
  }
}

/** The values of a family by their labels, sorted; `undefined` where there is no such family. */
export function valuesOf(families: Map<string, Read>, name: string): [Record<string, string>, number][] | undefined {
  return families.get(name)?.samples.map(({ labels, value }) => [labels, value]);
}
