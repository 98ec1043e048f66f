import { writeFileSync } from 'node:fs';
import { markdown } from '../test/matrix/report.ts';
import type { Result } from '../test/matrix/run-row.ts';
import { missingRows } from './matrix-cells.ts';

export interface Conclusion {
  /** The Markdown file about the 54 rows. */
  page: string;
  /** Whether what `--all` adds must be there, too. */
  all: boolean;
  say: (line: string) => void;
}

/**
 * Says what the rows came to, and writes the page: only where each of the 54 rows is there and right, for it must not be replaced by one that
 * shows less.
 * @returns the exit code
 */
export function conclude(results: Result[], { page, all, say }: Conclusion): 0 | 1 {
  const own = results.filter(({ variant }) => variant === undefined);
  if (missingRows(own).length === 0 && own.every(({ ok }) => ok)) writeFileSync(page, markdown(own));
  const missing = missingRows(results, all);
  for (const row of missing) say(`missing: ${row}`);
  const right = results.filter(({ ok }) => ok).length;
  say(`${right} of ${results.length + missing.length} rows are right`);
  return right === results.length && missing.length === 0 ? 0 : 1;
}
