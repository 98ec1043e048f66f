import { type Goal, type Metric, type Result, ratios, reached, type Spread, spread } from './result.ts';

/** Three digits that count, and thousands apart; `-` for what was not measured. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A ratio's third digit may decide whether a goal is reached. */
export function ratio(value: number): string {
  return Number.isFinite(value) ? value.toFixed(3) : '-';
}

/** `median (min–max)`. */
export function range({ min, median, max }: Spread, text = figure): string {
  return Number.isNaN(median) ? '-' : `${text(median)} (${text(min)}–${text(max)})`;
}

/** Of one metric of one arm, over the rounds that have it; NaN where none has. */
export function spreadOf(result: Result, metric: string, arm: string): Spread {
  return spread((result.arms[arm] ?? []).map((sample) => sample[metric] ?? Number.NaN).filter(Number.isFinite));
}

/** NaN, too, where a ratio has no meaning: without a base, and for shares of the machine. */
export function ratioOf(result: Result, metric: string, arm: string, base = baseOf(result, arm)): Spread {
  if (base === undefined || result.metrics[metric]?.unit === '%') return spread([]);
  return spread(ratios(result, metric, arm, base).filter(Number.isFinite));
}

/** `CPU per session, µs`. */
export function heading({ title, unit }: Metric): string {
  return unit === '' ? title : `${title}, ${unit}`;
}

/** The arm that an arm is held against: its own goal's, else that of the case's first goal. */
export function baseOf({ goals }: Result, arm: string): string | undefined {
  const own = goals.find((goal) => goal.arm === arm && goal.base !== undefined);
  const base = (own ?? goals.find((goal) => goal.base !== undefined))?.base;
  return base === arm ? undefined : base;
}

export function limit({ atMost, atLeast }: Goal): string {
  return [...(atMost === undefined ? [] : [`≤ ${atMost}`]), ...(atLeast === undefined ? [] : [`≥ ${atLeast}`])].join(
    ', ',
  );
}

/** Text, limit, value, verdict. A goal whose arm is left out is neither reached nor missed. */
export function goalCells(result: Result, goal: Goal): string[] {
  const { value, ok } = reached(result, goal);
  const text = range(value, goal.base === undefined ? figure : ratio);
  return [goal.text, limit(goal), text, Number.isNaN(value.median) ? 'not measured' : ok ? 'reached' : 'MISSED'];
}

export const GOAL_HEAD = ['goal', 'wanted', 'median (min–max)', ''];
