import { setTimeout as sleep } from 'node:timers/promises';
import type { Arm } from '../arms/arm.ts';
import { startEnvoyArm } from '../arms/envoy.ts';
import * as nginx from '../arms/nginx.ts';
import { startPostern } from '../arms/postern.ts';
import { cpuMicroseconds, type Talker } from '../processes.ts';
import { interleave, type Metric, type Result, type Sample, spread } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { App } from '../tool.ts';
import type { Way } from '../way.ts';
import { possible } from './idle.ts';

/** One that stands between the app and the server. */
type Proxy = Way & { arm: Arm };

/** Connections that do nothing while others are opened. */
const OPEN = [0, 1_000, 5_000];

/** Milliseconds until the proxy has done with what was opened or closed. */
const SETTLE = 300;

/** A message at a time: a stall of 40 ms would be in every one of them. */
const LATE_DOTS = 50;

const CALLBACK: Record<string, Metric> = {
  cpu: { title: 'CPU per NOOP', unit: 'µs' },
  latency: { title: 'time per NOOP', unit: 'µs' },
};

const NEW: Record<string, Metric> = {
  ...Object.fromEntries(
    OPEN.map((open) => [`cpu at ${open}`, { title: `CPU per session, ${open} others open`, unit: 'µs' }]),
  ),
  growth: { title: 'CPU per session, the most others open against none', unit: '' },
};

const LATE_DOT: Record<string, Metric> = {
  late: { title: 'session p50, final dot in a write of its own', unit: 'µs' },
  normal: { title: 'session p50, final dot with the message', unit: 'µs' },
};

export const callbacks: Case = { name: 'callbacks', run };

async function run(stage: Stage): Promise<Result[]> {
  const notes: string[] = [];
  const ways = await startWays(stage);
  // The filter that only passes has no part of its own in what follows.
  const proxies = ways.filter(({ name }) => name !== 'pass filter');
  const late = [...proxies, ...(await startNginx(stage, notes))];
  const results = [await pings(stage, ways), await newConnections(stage, proxies), await lateDots(stage, late, notes)];
  await stage.clear();
  return results;
}

async function startWays(stage: Stage): Promise<Proxy[]> {
  const plain = { ...stage.options(), envoy: stage.envoy, name: 'envoy' };
  const pass = { ...stage.options(), envoy: stage.envoy, name: 'pass filter', wasm: stage.passFilter };
  const postern = { ...stage.options(), name: 'postern', transport: 'plain' } as const;
  return [
    loggingIn(await stage.add(startEnvoyArm(plain))),
    loggingIn(await stage.add(startEnvoyArm(pass))),
    silent(await stage.add(startPostern(postern))),
  ];
}

function silent(arm: Arm): Proxy {
  return { name: arm.name, ports: arm.ports, arm };
}

function loggingIn(arm: Arm): Proxy {
  return { ...silent(arm), login: 'PLAIN' };
}

async function startNginx(stage: Stage, notes: string[]): Promise<Proxy[]> {
  const packages = nginx.missing();
  if (!packages) return [loggingIn(await stage.add(nginx.start(stage.options())))];
  notes.push(`Without nginx: the packages ${packages} are not installed.`);
  return [];
}

function app({ ports, login }: Way, protocol: 'smtp' | 'imap'): App {
  return { protocol, address: `127.0.0.1:${ports[protocol]}`, login };
}

/** A NOOP and its answer are two callbacks of a filter; nothing but them differs between the arms. */
async function pings(stage: Stage, ways: Proxy[]): Promise<Result> {
  stage.progress('callbacks: NOOPs');
  const count = stage.quick ? 5_000 : 10_000;
  const arms = await interleave(ways, stage.rounds, async (way) => {
    const before = cpuMicroseconds(way.arm.pids());
    const { pings, seconds } = await stage.tool.ping(app(way, 'smtp'), count);
    return { cpu: (cpuMicroseconds(way.arm.pids()) - before) / pings, latency: (seconds / pings) * 1e6 };
  });
  const notes = ways.slice(1).map(({ name }) => {
    const costs = (arms[name] ?? []).map(({ cpu }, round) => ((cpu ?? 0) - (arms.envoy?.[round]?.cpu ?? 0)) / 2);
    const { min, median, max } = spread(costs);
    const [low, middle, high] = [min, median, max].map((cost) => cost.toFixed(2));
    return `One callback after login, ${name}: ${middle} µs of CPU (${low} to ${high}), half of what a NOOP and its answer cost more than in plain Envoy.`;
  });
  return {
    name: 'callbacks',
    title: 'a NOOP and its answer after login (SMTP)',
    metrics: CALLBACK,
    arms,
    goals: [],
    notes,
  };
}

async function newConnections(stage: Stage, ways: Proxy[]): Promise<Result> {
  const notes: string[] = [];
  const counts = possible(OPEN, notes);
  const arms = await interleave(ways, stage.rounds, async (way, warmUp) => {
    stage.progress(`callbacks: new connections beside open ones, ${way.name}`);
    return besideOpen(stage, way, warmUp ? counts.slice(0, 1) : counts);
  });
  return {
    name: 'new connections',
    title: 'a new session while others are open (IMAP, 16 at once)',
    metrics: NEW,
    arms,
    goals: [
      {
        text: `CPU per session with ${counts.at(-1)} other connections open against none: its growth against plain Envoy's`,
        metric: 'growth',
        arm: 'postern',
        base: 'envoy',
        atMost: 1.05,
      },
    ],
    notes,
  };
}

async function besideOpen(stage: Stage, way: Proxy, counts: number[]): Promise<Sample> {
  const idle = stage.tool.idle(app(way, 'imap'));
  try {
    const sample: Sample = {};
    for (const count of counts) {
      await open(idle, count);
      sample[`cpu at ${count}`] = await sessionCpu(stage, way);
    }
    const [none = Number.NaN, ...more] = counts.map((count) => sample[`cpu at ${count}`]);
    sample.growth = (more.at(-1) ?? Number.NaN) / none;
    await open(idle, 0);
    return sample;
  } finally {
    await idle.stop();
  }
}

async function open(idle: Talker, count: number): Promise<void> {
  idle.tell(String(count));
  await idle.hear();
  await sleep(SETTLE);
}

async function sessionCpu(stage: Stage, way: Proxy): Promise<number> {
  const sessions = stage.quick ? 500 : 2_000;
  const before = cpuMicroseconds(way.arm.pids());
  await stage.tool.load(app(way, 'imap'), 16, sessions);
  return (cpuMicroseconds(way.arm.pids()) - before) / sessions;
}

/** Nagle's algorithm against the delayed acknowledgement, in whoever does not turn the former off: the final dot waits 40 ms. */
async function lateDots(stage: Stage, ways: Proxy[], notes: string[]): Promise<Result> {
  stage.progress('callbacks: the final dot of DATA in a write of its own');
  const arms = await interleave(ways, stage.rounds, async (way) => {
    const { p50: late } = await stage.tool.load({ ...app(way, 'smtp'), lateDot: true }, 1, LATE_DOTS);
    const { p50: normal } = await stage.tool.load(app(way, 'smtp'), 1, LATE_DOTS);
    return { late, normal };
  });
  return {
    name: 'late dot',
    title: 'the final dot of DATA in a write of its own (SMTP, one at a time)',
    metrics: LATE_DOT,
    arms,
    goals: [
      {
        text: 'final dot of DATA in a write of its own: no stall of 40 ms (session p50 in µs)',
        metric: 'late',
        arm: 'postern',
        atMost: 10_000,
      },
    ],
    notes,
  };
}
