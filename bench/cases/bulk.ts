import type { Arm } from '../arms/arm.ts';
import * as dovecot from '../arms/dovecot.ts';
import { startEnvoyArm } from '../arms/envoy.ts';
import * as nginx from '../arms/nginx.ts';
import { startPostern } from '../arms/postern.ts';
import { cpuMicroseconds } from '../processes.ts';
import { type Goal, interleave, type Metric, type Result, type Sample, spread } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { App } from '../tool.ts';
import type { Way } from '../way.ts';

const METRICS: Record<string, Metric> = {
  rate: { title: 'rate', unit: 'MiB/s' },
  cpu: { title: 'CPU for 256 MiB', unit: 'ms' },
};

/**
 * 256 MiB pass in a fraction of a second, and which processor the kernel gives to whom decides a part of it: a sample is the median of so
 * many, and all arms have their turn between two of one arm.
 */
const TRANSFERS = 5;

const UP = { protocol: 'smtp', name: 'bulk up', title: '256 MiB up (SMTP DATA)' } as const;
const DOWN = { protocol: 'imap', name: 'bulk down', title: '256 MiB down (IMAP FETCH)' } as const;

export const bulk: Case = { name: 'bulk', run };

async function run(stage: Stage): Promise<Result[]> {
  const notes: string[] = [];
  const ways = await startWays(stage, notes);
  const results: Result[] = [];
  for (const { protocol, name, title } of [UP, DOWN]) {
    stage.progress(`${name}: ${ways.length} arms`);
    const transfers = stage.quick ? 1 : TRANSFERS;
    const all = await interleave(ways, stage.rounds * transfers, (way) => transfer(stage, way, protocol));
    const arms = Object.fromEntries(Object.entries(all).map(([arm, samples]) => [arm, medians(samples, transfers)]));
    results.push({ name, title, metrics: METRICS, arms, goals: goals(name), notes });
  }
  await stage.clear();
  return results;
}

async function startWays(stage: Stage, notes: string[]): Promise<Way[]> {
  const plain = { ...stage.options(), envoy: stage.envoy, name: 'envoy' };
  const pass = { ...stage.options(), envoy: stage.envoy, name: 'pass filter', wasm: stage.passFilter };
  const tls = { ...stage.options(), envoy: stage.envoy, name: 'envoy tls', tls: true };
  const apps: Arm[] = [];
  for (const options of [plain, pass, tls]) apps.push(await stage.add(startEnvoyArm(options)));
  for (const { name, missing, start } of [
    { ...nginx, name: 'nginx' },
    { ...dovecot, name: 'dovecot plain' },
  ]) {
    const packages = missing();
    if (packages) notes.push(`Without ${name}: the packages ${packages} are not installed.`);
    else apps.push(await stage.add(start(stage.options())));
  }
  const silent = [
    await stage.add(startPostern({ ...stage.options(), name: 'postern', transport: 'plain' })),
    await stage.add(startPostern({ ...stage.options(), name: 'postern tls', transport: 'tls' })),
  ];
  return [
    { name: 'direct', ports: stage.upstream, login: 'PLAIN' },
    ...apps.map((arm) => ({ name: arm.name, ports: arm.ports, login: 'PLAIN', arm }) as const),
    ...silent.map((arm) => ({ name: arm.name, ports: arm.ports, arm })),
  ];
}

async function transfer(stage: Stage, way: Way, protocol: App['protocol']): Promise<Sample> {
  const { arm, login, ports } = way;
  const cpu = () => (arm ? cpuMicroseconds(arm.pids()) : 0);
  const before = cpu();
  const { octets, seconds } = await stage.tool.bulk({ protocol, address: `127.0.0.1:${ports[protocol]}`, login });
  return { rate: octets / 2 ** 20 / seconds, ...(arm && { cpu: (cpu() - before) / 1e3 }) };
}

/** One sample for each `count` in turn. */
function medians(samples: Sample[], count: number): Sample[] {
  return Array.from({ length: samples.length / count }, (_, index) => {
    const some = samples.slice(index * count, (index + 1) * count);
    const median = (metric: string) => spread(some.map((sample) => sample[metric] ?? Number.NaN)).median;
    return Object.fromEntries(Object.keys(some[0] ?? {}).map((metric) => [metric, median(metric)]));
  });
}

function goals(name: string): Goal[] {
  return [
    { text: `${name}: rate against plain Envoy`, metric: 'rate', arm: 'postern', base: 'envoy', atLeast: 0.98 },
    {
      text: `${name}, TLS to the server: rate against plain Envoy`,
      metric: 'rate',
      arm: 'postern tls',
      base: 'envoy tls',
      atLeast: 0.98,
    },
  ];
}
