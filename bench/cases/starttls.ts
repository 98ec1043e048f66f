import { PROTOCOLS, type Protocol } from '../arms/arm.ts';
import { startNetwork } from '../arms/between.ts';
import { missing, start as startDovecot } from '../arms/dovecot.ts';
import { startPostern } from '../arms/postern.ts';
import { cpuMicroseconds, memoryKiB } from '../processes.ts';
import { type Goal, interleave, type Metric, type Result, type Sample } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { App } from '../tool.ts';

const MIB = 1 << 20;
const ROUND_TRIP = 80;
const IDLE = 500;

/** An app and where it connects. */
interface Way {
  name: string;
  app(protocol: Protocol): App;
  /** Of what stands between the app and the server, by part; none where the app does STARTTLS itself. */
  parts: Record<string, () => number[]>;
}

const SESSION: Record<string, Metric> = {
  cpu: { title: 'CPU per session', unit: 'µs' },
  envoy: { title: 'CPU per session, Envoy', unit: 'µs' },
  helper: { title: 'CPU per session, helper', unit: 'µs' },
  rate: { title: 'sessions per second', unit: '1/s' },
  p50: { title: 'latency p50', unit: 'µs' },
};

const MEMORY: Record<string, Metric> = {
  memory: { title: 'memory per idle IMAP connection', unit: 'KiB' },
  envoy: { title: 'memory per idle IMAP connection, Envoy', unit: 'KiB' },
  helper: { title: 'memory per idle IMAP connection, helper', unit: 'KiB' },
};

const BULK: Record<string, Metric> = {
  up: { title: 'up, 256 MiB by SMTP', unit: 'MiB/s' },
  down: { title: 'down, 256 MiB by IMAP', unit: 'MiB/s' },
};

/** STARTTLS to the server: by Postern's relay, by Dovecot's proxy, and by the app itself. */
export const starttls: Case = {
  name: 'starttls',
  async run(stage) {
    const ways = await start(stage);
    // First, while no process has memory left over from something else.
    const results = [await memory(stage, ways)];
    for (const protocol of PROTOCOLS) results.push(await sessions(stage, ways, protocol));
    results.push(await bulk(stage, ways));
    await stage.clear();
    results.push(await latency(stage));
    await stage.clear();
    return results;
  },
};

async function start(stage: Stage): Promise<Way[]> {
  const ways = [direct(stage.upstream), await postern(stage, stage.upstream)];
  return missing() ? ways : [...ways, await dovecot(stage)];
}

function direct(upstream: Record<string, number>): Way {
  return {
    name: 'direct',
    app: (protocol) => ({
      protocol,
      address: `127.0.0.1:${upstream[protocol]}`,
      login: 'PLAIN',
      security: 'starttls',
    }),
    parts: {},
  };
}

async function postern(stage: Stage, upstream: Record<string, number>, preconnect = false): Promise<Way> {
  const name = preconnect ? 'postern preconnect' : 'postern';
  const arm = await stage.add(startPostern({ ...stage.options(), upstream, name, transport: 'starttls', preconnect }));
  return {
    name: arm.name,
    app: (protocol) => ({ protocol, address: `127.0.0.1:${arm.ports[protocol]}` }),
    parts: { envoy: () => [arm.envoy], helper: () => [arm.helper] },
  };
}

async function dovecot(stage: Stage): Promise<Way> {
  const arm = await stage.add(startDovecot({ ...stage.options(), transport: 'starttls' }));
  return {
    name: 'dovecot',
    app: (protocol) => ({ protocol, address: `127.0.0.1:${arm.ports[protocol]}`, login: 'PLAIN' }),
    parts: { dovecot: () => arm.pids() },
  };
}

/** What each part has used since, per session or connection, and in all under `name`. */
function use(way: Way, name: string, measure: (pids: number[]) => number): (count: number) => Sample {
  const parts = Object.entries(way.parts).map(([part, pids]) => ({ part, pids, before: measure(pids()) }));
  return (count) => {
    const used = parts.map(({ part, pids, before }): [string, number] => [part, (measure(pids()) - before) / count]);
    const all = used.reduce((sum, [, value]) => sum + value, 0);
    return { ...Object.fromEntries(used), ...(used.length > 0 && { [name]: all }) };
  };
}

async function memory(stage: Stage, ways: Way[]): Promise<Result> {
  stage.progress(`starttls, ${IDLE} idle connections ...`);
  const arms: Result['arms'] = {};
  for (const way of ways.filter(({ parts }) => Object.keys(parts).length > 0)) {
    await stage.tool.load(way.app('imap'), 16, 200);
    const used = use(way, 'memory', memoryKiB);
    const talker = stage.tool.idle(way.app('imap'));
    try {
      talker.tell(String(IDLE));
      await talker.hear();
      arms[way.name] = [used(IDLE)];
    } finally {
      await talker.stop();
    }
  }
  return {
    name: 'starttls memory',
    title: `STARTTLS to the server: memory per idle IMAP connection, ${IDLE} of them`,
    metrics: MEMORY,
    arms,
    goals: [],
    notes: ['One measurement: a process that has had the connections once keeps memory for the next ones.'],
  };
}

async function sessions(stage: Stage, ways: Way[], protocol: Protocol): Promise<Result> {
  stage.progress(`starttls, ${protocol} sessions ...`);
  const count = stage.quick ? 150 : 800;
  return {
    name: `starttls ${protocol}`,
    title: `STARTTLS to the server: ${protocol.toUpperCase()} sessions, 16 at once`,
    metrics: SESSION,
    // Node compiles what is called often: the first round is longer.
    arms: await interleave(ways, stage.rounds, async (way, warmUp) =>
      sessionSample(stage, way, protocol, warmUp ? 2 * count : count),
    ),
    goals: ways.some(({ name }) => name === 'dovecot') ? [cpuGoal(protocol)] : [],
    ...(missing() && { notes: [`Dovecot is missing: ${missing()}`] }),
  };
}

async function sessionSample({ tool }: Stage, way: Way, protocol: Protocol, count: number): Promise<Sample> {
  const used = use(way, 'cpu', cpuMicroseconds);
  const { seconds, p50 } = await tool.load(way.app(protocol), 16, count);
  return { ...used(count), rate: count / seconds, p50 };
}

function cpuGoal(protocol: Protocol): Goal {
  return {
    text: `STARTTLS to the server, ${protocol.toUpperCase()}: CPU per session against Dovecot's proxy`,
    metric: 'cpu',
    arm: 'postern',
    base: 'dovecot',
    // "Below 1.0", which a ratio is never exactly.
    atMost: 1,
  };
}

async function bulk(stage: Stage, ways: Way[]): Promise<Result> {
  stage.progress('starttls, bulk ...');
  return {
    name: 'starttls bulk',
    title: 'STARTTLS to the server: 256 MiB in one message',
    metrics: BULK,
    arms: await interleave(ways, stage.quick ? 1 : 3, async ({ app }) => ({
      up: await speed(stage, app('smtp')),
      down: await speed(stage, app('imap')),
    })),
    goals: [],
  };
}

async function speed({ tool }: Stage, app: App): Promise<number> {
  const { octets, seconds } = await tool.bulk(app);
  return octets / MIB / seconds;
}

/** Round trips that are saved: nobody has much to do but wait, so the protocols go side by side. */
async function latency(stage: Stage): Promise<Result> {
  stage.progress(`starttls, ${ROUND_TRIP} ms to the server ...`);
  const { upstream } = await stage.add(startNetwork(stage.tool, stage.upstream, ROUND_TRIP));
  const ways = [direct(upstream), await postern(stage, upstream), await postern(stage, upstream, true)];
  return {
    name: `starttls latency ${ROUND_TRIP} ms`,
    title: `STARTTLS to the server: session latency with ${ROUND_TRIP} ms to it and back, one session at a time`,
    metrics: latencyMetrics(),
    arms: await interleave(ways, stage.rounds, (way) => latencySample(stage, way)),
    goals: PROTOCOLS.flatMap((protocol) => [
      latencyGoal(protocol, 'postern'),
      latencyGoal(protocol, 'postern preconnect'),
    ]),
  };
}

function latencyGoal(protocol: Protocol, arm: string): Goal {
  const how = arm === 'postern' ? '' : ' with preconnect';
  return {
    text: `STARTTLS to the server, ${protocol.toUpperCase()}${how}: session latency at 80 ms against an app that does it itself`,
    metric: protocol,
    arm,
    base: 'direct',
    atMost: 0.8,
  };
}

async function latencySample({ tool, quick }: Stage, way: Way): Promise<Sample> {
  const loads = await Promise.all(PROTOCOLS.map((protocol) => tool.load(way.app(protocol), 1, quick ? 1 : 3)));
  const each = PROTOCOLS.flatMap((protocol, index) => {
    const p50 = (loads[index]?.p50 ?? Number.NaN) / 1000;
    return [
      [protocol, p50],
      [`${protocol} trips`, p50 / ROUND_TRIP],
    ];
  });
  return Object.fromEntries(each);
}

function latencyMetrics(): Record<string, Metric> {
  const each = PROTOCOLS.flatMap((protocol): [string, Metric][] => [
    [protocol, { title: `${protocol}, p50`, unit: 'ms' }],
    [`${protocol} trips`, { title: `${protocol}, p50 in round trips`, unit: '' }],
  ]);
  return Object.fromEntries(each);
}
