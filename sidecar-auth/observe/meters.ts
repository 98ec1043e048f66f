import type { Family, Labels, Sample } from './openmetrics.ts';

/** Values by their labels. */
abstract class Meter<T> {
  readonly name: string;
  readonly help: string;
  readonly #series = new Map<string, { labels: Labels; value: T }>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  abstract family(): Family;

  /** Forgets the series whose labels are not wanted any more. */
  keep(wanted: (labels: Labels) => boolean): void {
    for (const [key, { labels }] of this.#series) if (!wanted(labels)) this.#series.delete(key);
  }

  protected get series(): Iterable<{ labels: Labels; value: T }> {
    return this.#series.values();
  }

  protected value(labels: Labels): T | undefined {
    return this.#series.get(JSON.stringify(labels))?.value;
  }

  protected put(labels: Labels, value: T): void {
    this.#series.set(JSON.stringify(labels), { labels, value });
  }

  protected remove(labels: Labels): void {
    this.#series.delete(JSON.stringify(labels));
  }
}

export type AnyMeter = Pick<Meter<unknown>, 'family' | 'keep'>;

export class Counter extends Meter<number> {
  add(labels: Labels, by = 1): void {
    this.put(labels, (this.value(labels) ?? 0) + by);
  }

  family(): Family {
    return { name: this.name, type: 'counter', help: this.help, samples: [...this.series] };
  }
}

export class Gauge extends Meter<number> {
  set(labels: Labels, value: number): void {
    this.put(labels, value);
  }

  clear(labels: Labels): void {
    this.remove(labels);
  }

  family(): Family {
    return { name: this.name, type: 'gauge', help: this.help, samples: [...this.series] };
  }
}

/**
 * Upper bounds in seconds: a kept answer, a server nearby, one far away, a slow one, one that is nearly too late, a time-out. Envoy's own
 * histograms have these bounds, too.
 */
export const BOUNDS = [0.005, 0.025, 0.1, 0.5, 2.5, 10] as const;

interface Times {
  /** Of each bound, and of what is above all. */
  counts: number[];
  sum: number;
}

export class Histogram extends Meter<Times> {
  observe(labels: Labels, seconds: number): void {
    const times = this.value(labels) ?? { counts: [...BOUNDS.map(() => 0), 0], sum: 0 };
    const bound = BOUNDS.findIndex((most) => seconds <= most);
    const index = bound < 0 ? BOUNDS.length : bound;
    times.counts[index] = (times.counts[index] ?? 0) + 1;
    times.sum += seconds;
    this.put(labels, times);
  }

  family(): Family {
    const samples = [...this.series].flatMap(({ labels, value: { counts, sum } }) =>
      histogramSamples(labels, cumulative(counts), sum),
    );
    return { name: this.name, type: 'histogram', help: this.help, samples };
  }
}

/** @param counts how many were not above each bound, and at the end how many there were */
export function histogramSamples(labels: Labels, counts: number[], sum: number): Sample[] {
  const bounds = [...BOUNDS.map((bound) => (Number.isInteger(bound) ? `${bound}.0` : `${bound}`)), '+Inf'];
  return [
    ...bounds.map((le, index) => ({ suffix: '_bucket', labels: { ...labels, le }, value: counts[index] ?? 0 })),
    { suffix: '_count', labels, value: counts.at(-1) ?? 0 },
    { suffix: '_sum', labels, value: sum },
  ];
}

function cumulative(counts: number[]): number[] {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum;
  });
}
