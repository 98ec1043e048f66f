// node scripts/chart-readme.ts: writes the chart's README.md from the comments of its values.yaml.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chartReadme } from './lib/chart-readme.ts';

const chart = join(fileURLToPath(new URL('..', import.meta.url)), 'envoy', 'helm', 'postern');
writeFileSync(join(chart, 'README.md'), chartReadme(readFileSync(join(chart, 'values.yaml'), 'utf8')));
