import { baseOf, figure, GOAL_HEAD, goalCells, heading, ratio, ratioOf, spreadOf } from './format.ts';
import type { Result, Spread } from './result.ts';

const HEAD = ['arm', 'metric', 'min', 'median', 'max', 'ratio: min', 'median', 'max', ''];

/** A result as a table for a terminal: a line for each metric of each arm. */
export function resultTable(result: Result): string {
  const rows = Object.keys(result.arms).flatMap((arm) => armRows(result, arm));
  return [`\n${result.name}: ${result.title}`, ...aligned([HEAD, ...rows]), ...(result.notes ?? [])].join('\n');
}

function armRows(result: Result, arm: string): string[][] {
  const rows: string[][] = [];
  for (const [metric, what] of Object.entries(result.metrics)) {
    const own = spreadOf(result, metric, arm);
    if (Number.isNaN(own.median)) continue;
    const name = rows.length === 0 ? arm : '';
    rows.push([name, heading(what), ...cells(own, figure), ...ratioCells(result, metric, arm)]);
  }
  return rows;
}

function ratioCells(result: Result, metric: string, arm: string): string[] {
  const compared = ratioOf(result, metric, arm);
  return Number.isNaN(compared.median) ? [] : [...cells(compared, ratio), `of ${baseOf(result, arm)}`];
}

function cells({ min, median, max }: Spread, text: (value: number) => string): string[] {
  return [min, median, max].map(text);
}

export function goalTable(results: Result[]): string {
  const rows = results.flatMap((result) => result.goals.map((goal) => goalCells(result, goal)));
  return ['\ngoals', ...aligned([GOAL_HEAD, ...rows])].join('\n');
}

/** Columns of one width; numbers stand to the right. */
function aligned(rows: string[][]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const isNumber = (cell: string) => /^[\d,.-]+$/.test(cell);
  const pad = (cell: string, width = 0) => (isNumber(cell) ? cell.padStart(width) : cell.padEnd(width));
  return rows.map((row) => `  ${row.map((cell, i) => pad(cell, widths[i])).join('  ')}`.trimEnd());
}
