/** One measurement of one arm in one round, by metric. */
export type Sample = Record<string, number>;

export interface Metric {
  title: string;
  unit: string;
}

/** What a case must reach: a ratio of two arms in the same round, or a figure as it is where there is no `base`. */
export interface Goal {
  /** As docs/performance.md says it. */
  text: string;
  metric: string;
  arm: string;
  base?: string;
  atMost?: number;
  atLeast?: number;
}

/** What a case brings; all of it is written to the JSON file. */
export interface Result {
  /** `sessions smtp 16`: unique. */
  name: string;
  title: string;
  metrics: Record<string, Metric>;
  /** By arm, round by round. */
  arms: Record<string, Sample[]>;
  goals: Goal[];
  /** What a reader must know: arms that are missing and why, for example. */
  notes?: string[];
}

export interface Spread {
  min: number;
  median: number;
  max: number;
}

export function spread(values: number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
  return { min: sorted[0] ?? Number.NaN, median, max: sorted.at(-1) ?? Number.NaN };
}

/** Round by round: the machine's speed drifts, and both arms of a round drift alike. */
export function ratios(result: Result, metric: string, arm: string, base: string): number[] {
  const bases = result.arms[base] ?? [];
  return (result.arms[arm] ?? []).map(
    (sample, round) => (sample[metric] ?? Number.NaN) / (bases[round]?.[metric] ?? Number.NaN),
  );
}

export function reached(result: Result, goal: Goal): { value: Spread; ok: boolean } {
  const { metric, arm, base, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = goal;
  const own = (result.arms[arm] ?? []).map((sample) => sample[metric] ?? Number.NaN);
  const value = spread(base === undefined ? own : ratios(result, metric, arm, base));
  return { value, ok: value.median <= atMost && value.median >= atLeast };
}

/**
 * Runs every arm once per round, in turn, every other round backwards, so that no arm always comes after the same one. The first
 * round is not counted: caches fill, code is compiled.
 */
export async function interleave<A extends { name: string }>(
  arms: A[],
  rounds: number,
  measure: (arm: A, warmUp: boolean) => Promise<Sample>,
): Promise<Record<string, Sample[]>> {
  const samples: Record<string, Sample[]> = Object.fromEntries(arms.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const arm of round % 2 === 0 ? arms : [...arms].reverse()) {
      const sample = await measure(arm, round === 0);
      if (round > 0) samples[arm.name]?.push(sample);
    }
  }
  return samples;
}
