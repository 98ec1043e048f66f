import { figure, spreadOf } from './format.ts';
import type { Measurement } from './measurement.ts';
import type { Result } from './result.ts';

/** What is drawn: a part of the page for each. */
const DRAWN = ['sessions smtp 16', 'sessions smtp 16 tls'];

const WIDTH = 1040;
const ROW = 26;
/** A part has a title and the columns' heads above its rows. */
const ABOVE = 66;
/** Where a column's bars begin, and how long the longest is. Behind it stands its figure. */
const COLUMNS = [
  { metric: 'cpu', x: 210, title: 'CPU per session, µs (less is better)' },
  { metric: 'rate', x: 640, title: 'sessions per second (more is better)' },
];
const LONGEST = 310;

/** An arm that is this many times the smallest would leave nothing of the others' bars: its own is cut. */
const CUT = 12;

/** The figures of SMTP sessions as horizontal bars. The colours are the reader's: light or dark. */
export function svg({ results }: Measurement): string {
  const parts = DRAWN.flatMap((name) => results.filter((result) => result.name === name));
  let y = 10;
  const drawn = parts.map((result) => {
    const part = `<g transform="translate(0 ${y})">\n${draw(result)}\n</g>`;
    y += ABOVE + Object.keys(result.arms).length * ROW + 14;
    return part;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="Helvetica, Arial, sans-serif" font-size="14">
${STYLE}
<rect class="page" width="${WIDTH}" height="${y}"/>
${drawn.join('\n')}
</svg>
`;
}

const STYLE = `<style>
  .page { fill: #ffffff } text { fill: #0f172a } .bar { fill: #94a3b8 } .own { fill: #2563eb } .soft { fill: #475569 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .bar { fill: #64748b } .own { fill: #60a5fa } .soft { fill: #9aa7b5 }
  }
</style>`;

function draw(result: Result): string {
  const arms = Object.keys(result.arms);
  return [
    `<text x="20" y="24" font-weight="bold">${escaped(result.title)}</text>`,
    ...arms.map((arm, row) => `<text x="20" y="${ABOVE + row * ROW + 13}">${escaped(arm)}</text>`),
    ...COLUMNS.flatMap(({ metric, x, title }) => [
      `<text class="soft" x="${x}" y="52" font-size="12">${title}</text>`,
      ...bars(result, metric, x),
    ]),
  ].join('\n');
}

function bars(result: Result, metric: string, x: number): string[] {
  const arms = Object.keys(result.arms);
  const medians = arms.map((arm) => spreadOf(result, metric, arm).median);
  const known = medians.filter((value) => value > 0);
  const smallest = Math.min(...known);
  // Only what costs too much is cut: a rate that is small has a bar that is short.
  const longest = Math.max(...known.filter((value) => metric !== 'cpu' || value <= CUT * smallest));
  // A bar that is cut is the longest.
  const full = known.some((value) => value > longest) ? 0.85 * LONGEST : LONGEST;
  return arms.map((arm, row) => {
    const value = medians[row] ?? Number.NaN;
    const y = ABOVE + row * ROW;
    if (Number.isNaN(value)) return `<text class="soft" x="${x}" y="${y + 13}">-</text>`;
    const length = Math.max(1, value > longest ? LONGEST : (value / longest) * full);
    const kind = arm.startsWith('postern') ? 'bar own' : 'bar';
    const text = `${value > longest ? '» ' : ''}${figure(value)}`;
    return `<rect class="${kind}" x="${x}" y="${y}" width="${length.toFixed(1)}" height="17" rx="2"/><text x="${(x + length + 6).toFixed(1)}" y="${y + 13}">${text}</text>`;
  });
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
