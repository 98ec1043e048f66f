import { availableParallelism } from 'node:os';
import type { Arm, Protocol } from './arms/arm.ts';
import { coarseCpuMicroseconds, cpuMicroseconds, endedCpuMicroseconds } from './processes.ts';
import type { Metric, Sample } from './result.ts';
import type { Stage } from './stage.ts';
import type { App } from './tool.ts';

/** An arm and how the app behaves there. */
export interface Way {
  name: string;
  ports: Partial<Record<string, number>>;
  /** Nothing stands between the app and the server without it. */
  arm?: Arm;
  /** The app logs in itself; silent without it. */
  login?: App['login'];
  /** SMTP: it says EHLO although it does not log in, as mail libraries do. */
  hello?: boolean;
  /** Sessions at once, whatever the others have; and how many in all. */
  atOnce?: number;
  sessions?: number;
  /** V8 compiles it while it runs: it needs thousands of sessions to be as fast as it gets. */
  isCompiled?: boolean;
  /** Its threads end, so that only its process knows what they used. */
  threadsEnd?: boolean;
}

export const SESSION_METRICS: Record<string, Metric> = {
  cpu: { title: 'CPU per session', unit: 'µs' },
  rate: { title: 'sessions per second', unit: '1/s' },
  p50: { title: 'latency p50', unit: 'µs' },
  p95: { title: 'latency p95', unit: 'µs' },
  p99: { title: 'latency p99', unit: 'µs' },
  load: { title: 'processors: load', unit: '%' },
  server: { title: 'processors: server', unit: '%' },
};

/** Runs `count` sessions, and tells what they took of the arm, the load and the server. */
export async function sessionSample(
  stage: Stage,
  way: Way,
  protocol: Protocol,
  atOnce: number,
  count: number,
): Promise<Sample> {
  const app = { protocol, address: `127.0.0.1:${way.ports[protocol]}`, login: way.login, hello: way.hello };
  const before = readings(stage, way);
  const load = await stage.tool.load(app, way.atOnce ?? atOnce, count);
  const used = readings(stage, way).map((value, index) => value - (before[index] ?? 0));
  const [arm = 0, ended = 0, server = 0] = used;
  const share = (cpu: number) => (100 * cpu) / (load.seconds * 1e6 * availableParallelism());
  return {
    ...(way.arm && { cpu: arm / load.sessions }),
    rate: load.sessions / load.seconds,
    p50: load.p50,
    p95: load.p95,
    p99: load.p99,
    load: share(ended),
    server: share(server),
  };
}

function readings(stage: Stage, { arm, threadsEnd }: Way): number[] {
  const cpu = threadsEnd ? coarseCpuMicroseconds : cpuMicroseconds;
  return [arm ? cpu(arm.pids()) : 0, endedCpuMicroseconds(), cpuMicroseconds([stage.serverPid])];
}
