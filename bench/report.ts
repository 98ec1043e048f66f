import { baseOf, GOAL_HEAD, goalCells, heading, range, ratioOf, spreadOf } from './format.ts';
import type { Measurement } from './measurement.ts';
import type { Result } from './result.ts';

/** docs/performance.md. */
export function markdown(measurement: Measurement): string {
  const { results } = measurement;
  return `${[
    '# Performance',
    INTRODUCTION,
    '![CPU per session and sessions per second of each arm](performance.svg)',
    circumstances(measurement),
    '## Goals',
    table(
      GOAL_HEAD,
      results.flatMap((result) => result.goals.map((goal) => goalCells(result, goal))),
    ),
    METHOD,
    bottleneck(results),
    '## Results',
    'In each cell: median (min–max) of the rounds, and × the median of the ratio to the base in the same round.',
    ...results.map(section),
  ]
    .filter((part) => part !== '')
    .join('\n\n')}\n`;
}

const INTRODUCTION = `Written by \`npm run bench\`, which measures everything on one machine in one run; \`--quick\` takes 3 minutes and writes no page. What was tried where a goal
is missed, with its figures: [performance-notes.md](performance-notes.md).`;

const METHOD = `## How it is measured

All arms of a result are started first, then measured one after the other, round by round, every other round backwards. A first round is not counted. A ratio is taken within a
round, for the machine's speed drifts; a goal is held against the median of these ratios. CPU is user and system time from \`schedstat\` of all threads of
the proxy's processes (Postern: Envoy and sidecar-auth), divided by the number of sessions; load and server are not in it. Both are one compiled program, bench/tool, in processes
of their own. Everything shares the machine's processors, so sessions/s depends on what load and server use, too. Unless a result says otherwise,
a session is a login, a message of 2 KiB and the end; through Postern the app is silent, elsewhere it logs in itself. Every Envoy has two worker threads,
nginx and Dovecot have two processes.`;

function circumstances({
  date,
  seconds,
  rounds,
  commit,
  dirty,
  machine,
  versions,
  missing,
  failures,
}: Measurement): string {
  const { cpu, processors, memoryGiB, kernel } = machine;
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const lines = [
    `**Commit**: ${commit ?? 'unknown'}${dirty ? ', with changes that are not committed' : ''}`,
    `**Date**: ${date.slice(0, 10)}, ${Math.ceil(seconds / 60)} minutes, ${rounds} rounds`,
    `**Machine**: ${cpu}, ${processors} processors, ${memoryGiB.toFixed(1)} GiB of memory, Linux ${kernel}`,
    `**Programs**: ${programs.join(', ')}`,
    ...missing.map(({ arm, reason }) => `**Left out**: ${arm}: ${reason}`),
    ...failures.map((failure) => `**Failed**: ${failure.case}: ${failure.error}`),
  ];
  return lines.map((line) => `- ${line}`).join('\n');
}

/** Load and server alone are quicker than with any arm between them, and both leave most of the machine to it. */
function bottleneck(results: Result[]): string {
  const result = results.find(({ arms, metrics }) => arms.direct && metrics.load && metrics.server);
  if (!result) return '';
  const of = (arm: string, metric: string) => range(spreadOf(result, metric, arm));
  const rows = Object.keys(result.arms).map((arm) => [arm, of(arm, 'rate'), of(arm, 'load'), of(arm, 'server')]);
  return `That load and server are not what limits (${result.title}):\n\n${table(['arm', 'sessions/s', 'processors: load, %', 'server, %'], rows)}`;
}

function section(result: Result): string {
  const metrics = Object.entries(result.metrics);
  const head = ['arm', ...metrics.map(([, metric]) => heading(metric)), 'base'];
  const rows = Object.keys(result.arms).map((arm) => [
    arm,
    ...metrics.map(([metric]) => cell(result, metric, arm)),
    baseOf(result, arm) ?? '',
  ]);
  return [`### ${result.title}`, table(head, rows), ...(result.notes ?? [])].join('\n\n');
}

function cell(result: Result, metric: string, arm: string): string {
  const own = range(spreadOf(result, metric, arm));
  const { median } = ratioOf(result, metric, arm);
  return Number.isNaN(median) ? own : `${own} ×${median.toFixed(2)}`;
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(escaped).join(' | ')} |`).join('\n');
}

const escaped = (text: string) => text.replaceAll('|', '\\|');
