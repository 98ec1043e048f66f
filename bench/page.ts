import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/paths.ts';
import { svg } from './chart.ts';
import type { Measurement } from './measurement.ts';
import { markdown } from './report.ts';

/** Writes docs/performance.md and its chart. */
export function writePage(measurement: Measurement, folder = join(ROOT, 'docs')): void {
  writeFileSync(join(folder, 'performance.md'), markdown(measurement));
  writeFileSync(join(folder, 'performance.svg'), svg(measurement));
}
