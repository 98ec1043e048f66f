import type { Arm, Protocol } from '../arms/arm.ts';
import { PROTOCOLS } from '../arms/arm.ts';
import { startBareRelay } from '../arms/bare-relay.ts';
import { type Sockets, startSocksProxy, startTunnels } from '../arms/between.ts';
import { startEnvoyArm } from '../arms/envoy.ts';
import { startPostern } from '../arms/postern.ts';
import { cpuMicroseconds } from '../processes.ts';
import { type Goal, interleave, type Metric, type Result, type Sample } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { App } from '../tool.ts';

const MIB = 1 << 20;

/** A proxy in two parts: Envoy, and the helper that leads on from there. */
interface Way {
  name: string;
  envoy: Arm;
  helpers(): number[];
  /** Processes of both. */
  pids(): number[];
  login?: 'PLAIN';
}

const SESSION: Record<string, Metric> = {
  cpu: { title: 'CPU per session, Envoy and helper', unit: 'µs' },
  helper: { title: 'CPU per session, helper', unit: 'µs' },
  rate: { title: 'sessions per second', unit: '1/s' },
  p50: { title: 'latency p50', unit: 'µs' },
};

const BULK: Record<string, Metric> = {
  up: { title: 'up, 256 MiB by SMTP', unit: 'MiB/s' },
  down: { title: 'down, 256 MiB by IMAP', unit: 'MiB/s' },
};

/** Through the Connectivity Proxy by Postern's relay, by a SOCKS5 tunnel in Go, and to the server itself by a bare relay in Node. */
export const onPremise: Case = {
  name: 'on-premise',
  async run(stage) {
    const ways = await start(stage);
    const results: Result[] = [];
    for (const protocol of PROTOCOLS) results.push(await sessions(stage, ways, protocol));
    results.push(await bulk(stage, ways));
    await stage.clear();
    return results;
  },
};

async function start(stage: Stage): Promise<Way[]> {
  const proxy = await stage.add(startSocksProxy(stage.tool));
  const postern = await stage.add(
    startPostern({ ...stage.options(), name: 'postern', transport: 'socks', socks: proxy.port }),
  );
  const tunnels = await stage.add(startTunnels(stage.tool, stage.options(), proxy));
  const bare = await stage.add(startBareRelay(stage.options()));
  return [
    { name: 'postern', envoy: postern, helpers: () => [postern.helper], pids: () => postern.pids() },
    await behindEnvoy(stage, tunnels),
    await behindEnvoy(stage, bare),
  ];
}

async function behindEnvoy(stage: Stage, { name, sockets, pids }: Sockets): Promise<Way> {
  const envoy = await stage.add(startEnvoyArm({ ...stage.options(), envoy: stage.envoy, name, sockets }));
  return { name, envoy, helpers: pids, pids: () => [...envoy.pids(), ...pids()], login: 'PLAIN' };
}

function app({ envoy, login }: Way, protocol: Protocol): App {
  return { protocol, address: `127.0.0.1:${envoy.ports[protocol]}`, login };
}

async function sessions(stage: Stage, ways: Way[], protocol: Protocol): Promise<Result> {
  stage.progress(`on-premise, ${protocol} sessions ...`);
  const count = stage.quick ? 250 : 1000;
  return {
    name: `on-premise ${protocol}`,
    title: `On-premise: ${protocol.toUpperCase()} sessions, 16 at once`,
    metrics: SESSION,
    // Node compiles what is called often: the first round is longer.
    arms: await interleave(ways, stage.rounds, (way, warmUp) =>
      sessionSample(stage, way, protocol, warmUp ? 2 * count : count),
    ),
    goals: sessionGoals(protocol),
    notes: ['The bare relay leads to the server itself, without SOCKS5, token and PROXY header.'],
  };
}

async function sessionSample({ tool }: Stage, way: Way, protocol: Protocol, count: number): Promise<Sample> {
  const [all, helper] = [cpuMicroseconds(way.pids()), cpuMicroseconds(way.helpers())];
  const load = await tool.load(app(way, protocol), 16, count);
  return {
    cpu: (cpuMicroseconds(way.pids()) - all) / count,
    helper: (cpuMicroseconds(way.helpers()) - helper) / count,
    rate: count / load.seconds,
    p50: load.p50,
  };
}

function sessionGoals(protocol: Protocol): Goal[] {
  const name = protocol.toUpperCase();
  return [
    {
      text: `on-premise, ${name}: CPU per session of the whole against a SOCKS5 tunnel in Go behind Envoy`,
      metric: 'cpu',
      arm: 'postern',
      base: 'tunnel',
      atMost: 2,
    },
    {
      text: `on-premise, ${name}: the helper's own CPU per session against a bare relay in Node`,
      metric: 'helper',
      arm: 'postern',
      base: 'bare relay',
      atMost: 1.3,
    },
  ];
}

async function bulk(stage: Stage, ways: Way[]): Promise<Result> {
  stage.progress('on-premise, bulk ...');
  return {
    name: 'on-premise bulk',
    title: 'On-premise: 256 MiB in one message',
    metrics: BULK,
    arms: await interleave(ways, stage.quick ? 1 : stage.rounds, async (way) => ({
      up: await speed(stage, app(way, 'smtp')),
      down: await speed(stage, app(way, 'imap')),
    })),
    goals: (['up', 'down'] as const).map((metric) => ({
      text: `on-premise: bulk ${metric} against a SOCKS5 tunnel in Go behind Envoy`,
      metric,
      arm: 'postern',
      base: 'tunnel',
      atLeast: 0.7,
    })),
  };
}

async function speed({ tool }: Stage, app: App): Promise<number> {
  const { octets, seconds } = await tool.bulk(app);
  return octets / MIB / seconds;
}
