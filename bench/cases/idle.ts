import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { askAdmin } from '../../envoy/admin.ts';
import type { Arm } from '../arms/arm.ts';
import * as dovecot from '../arms/dovecot.ts';
import { type EnvoyOptions, startEnvoyArm } from '../arms/envoy.ts';
import * as nginx from '../arms/nginx.ts';
import { type PosternOptions, startPostern } from '../arms/postern.ts';
import type { Talker } from '../processes.ts';
import type { Goal, Metric, Result, Sample } from '../result.ts';
import type { Case, Stage } from '../stage.ts';

/** An arm, which is started anew for each sample: what a process once had it keeps. */
interface Way {
  name: string;
  start: () => Promise<Started>;
  /** The app logs in itself; silent without it. */
  login?: 'PLAIN';
}

interface Started {
  arm: Arm;
  /** Of Envoy. */
  adminSocket?: string;
  /** Process id of Postern's helper. */
  helper?: number;
}

/** How many are open, in turn. */
interface Plan {
  counts: number[];
  /** So many, one of `counts`, are also closed, opened and closed again. */
  closed?: number;
}

/** Open when what is counted begins: code is loaded, tables and pools have their first size. */
const FIRST = 100;

/** Milliseconds until a proxy has deleted what is closed. */
const SETTLE = 300;

/** KiB by which Node's heap differs from one look to the next, with nothing to do: it grows by pages of 256 KiB, and is collected when V8 likes. */
const NODE_NOISE = 2_048;

export const idle: Case = { name: 'idle', run };

async function run(stage: Stage): Promise<Result[]> {
  const notes = [
    `Memory is what is a process's own (Pss_Anon and Pss_Shmem in /proc/PID/smaps_rollup): pages of program files, which are shared with all other Envoys of the machine, are not in it. Per connection: the growth since ${FIRST} were open, in processes that are started anew for each round. Rounds differ by less than 1 %, so that there are few, and one where there is no goal or only the transport differs.`,
    'What is free again stays in the allocator of Envoy, nginx and Dovecot, for the next connections: what is kept is the most that was in use. "in use" is what Envoy itself counts as allocated.',
  ];
  const counts = possible(stage.quick ? [1_000] : [1_000, 5_000, 9_000], notes);
  const closed = stage.quick ? 1_000 : 5_000;
  const plain = await samples(stage, plainWays(stage), { counts, closed }, stage.quick ? 1 : 3);
  const others = await samples(stage, otherWays(stage, notes), { counts }, 1);
  const tls = await samples(stage, tlsWays(stage), { counts }, 1);
  return [
    {
      name: 'idle plain',
      title: 'idle authenticated IMAP connections, plain upstream',
      metrics: { ...growthMetrics(counts), ...keptMetrics(closed) },
      arms: { ...plain, ...others },
      goals: [...growthGoals(counts, 'postern', 'envoy', ''), ...keptGoals(closed)],
      notes,
    },
    {
      name: 'idle tls',
      title: 'idle authenticated IMAP connections, TLS upstream',
      metrics: growthMetrics(counts),
      arms: tls,
      goals: growthGoals(counts, 'postern tls', 'envoy tls', ', TLS upstream'),
    },
  ];
}

/** A proxy needs two descriptors for a connection, and some for itself. */
export function possible(counts: number[], notes: string[]): number[] {
  // Node has raised its soft limit to the hard one, and what it starts inherits that.
  const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
  const most = Math.floor((limit - 500) / 2);
  if (counts.some((count) => count > most)) {
    notes.push(`Open files are limited to ${limit} here (ulimit -Hn), and so connections to ${most}.`);
  }
  return counts.filter((count) => count <= most);
}

function plainWays(stage: Stage): Way[] {
  return [
    envoyWay(stage, { name: 'envoy' }),
    envoyWay(stage, { name: 'pass filter', wasm: stage.passFilter }),
    posternWay(stage, { name: 'postern', transport: 'plain' }),
  ];
}

function tlsWays(stage: Stage): Way[] {
  return [
    envoyWay(stage, { name: 'envoy tls', tls: true }),
    posternWay(stage, { name: 'postern tls', transport: 'tls' }),
  ];
}

function otherWays(stage: Stage, notes: string[]): Way[] {
  const others = [
    { name: 'nginx', ...nginx },
    { name: 'dovecot plain', ...dovecot },
  ];
  return others.flatMap(({ name, missing, start }) => {
    const packages = missing();
    if (!packages)
      return [{ name, start: async () => ({ arm: await start(stage.options()) }), login: 'PLAIN' } as const];
    notes.push(`Without ${name}: the packages ${packages} are not installed.`);
    return [];
  });
}

function envoyWay(stage: Stage, own: Pick<EnvoyOptions, 'name' | 'wasm' | 'tls'>): Way {
  const start = async () => {
    const options = { ...stage.options(), envoy: stage.envoy, ...own };
    return { arm: await startEnvoyArm(options), adminSocket: join(options.directory, 'admin.sock') };
  };
  return { name: own.name, start, login: 'PLAIN' };
}

function posternWay(stage: Stage, own: Pick<PosternOptions, 'name' | 'transport'>): Way {
  const start = async () => {
    const arm = await startPostern({ ...stage.options(), ...own });
    return { arm, adminSocket: arm.adminSocket, helper: arm.helper };
  };
  return { name: own.name, start };
}

async function samples(stage: Stage, ways: Way[], plan: Plan, rounds: number): Promise<Record<string, Sample[]>> {
  const samples: Record<string, Sample[]> = Object.fromEntries(ways.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const way of round % 2 === 0 ? [...ways].reverse() : ways) {
      stage.progress(`idle connections: ${way.name}, round ${round} of ${rounds}`);
      samples[way.name]?.push(await sample(stage, way, plan));
    }
  }
  return samples;
}

async function sample(stage: Stage, { start, login }: Way, { counts, closed }: Plan): Promise<Sample> {
  const started = await start();
  await stage.add(Promise.resolve(started.arm));
  const address = `127.0.0.1:${started.arm.ports.imap}`;
  const connections = new Connections(started, stage.tool.idle({ protocol: 'imap', address, login }));
  try {
    return await measure(connections, counts, closed);
  } finally {
    await connections.stop();
    await stage.clear();
  }
}

async function measure(connections: Connections, counts: number[], closed?: number): Promise<Sample> {
  await connections.open(FIRST);
  const empty = await connections.open(0);
  const begin = await connections.open(FIRST);
  const result: Sample = {};
  for (const count of counts) {
    const grown = difference(await connections.open(count), begin);
    result[`at ${count}`] = grown.all / (count - FIRST);
    result[`envoy at ${count}`] = (grown.all - grown.helper) / (count - FIRST);
    result.helper = grown.helper;
    if (count === closed) Object.assign(result, await closeTwice(connections, empty, closed));
  }
  return result;
}

async function closeTwice(connections: Connections, empty: Memory, count: number): Promise<Sample> {
  const once = await connections.open(0);
  await connections.open(count);
  const twice = await connections.open(0);
  const { all, used } = difference(once, empty);
  return { kept: all, used, vm: once.vm, again: twice.all / once.all };
}

/** KiB; NaN for what an arm does not have. */
interface Memory {
  /** Of all processes of the arm. */
  all: number;
  helper: number;
  /** Linear memory of the filter, in Envoy. */
  vm: number;
  /** Allocated, by Envoy's own count: without what its allocator keeps for later, and without the filter's linear memory. */
  used: number;
}

function difference(later: Memory, earlier: Memory): Memory {
  return {
    all: later.all - earlier.all,
    helper: later.helper - earlier.helper,
    vm: later.vm - earlier.vm,
    used: later.used - earlier.used,
  };
}

/** The connections through one arm. */
class Connections {
  readonly #started: Started;
  readonly #app: Talker;

  constructor(started: Started, app: Talker) {
    this.#started = started;
    this.#app = app;
  }

  /** Opens or closes some, and looks at the memory. */
  async open(count: number): Promise<Memory> {
    this.#app.tell(String(count));
    await this.#app.hear();
    await sleep(SETTLE);
    const { arm, helper, adminSocket } = this.#started;
    return {
      all: ownKiB(arm.pids()),
      helper: helper === undefined ? Number.NaN : ownKiB([helper]),
      vm: helper === undefined || adminSocket === undefined ? Number.NaN : await linearMemoryKiB(adminSocket),
      used: adminSocket === undefined ? Number.NaN : await allocatedKiB(adminSocket),
    };
  }

  async stop(): Promise<void> {
    await this.#app.stop();
  }
}

/** Without pages of files: their share changes whenever another process of the same program starts or ends. */
function ownKiB(pids: number[]): number {
  return pids.reduce((sum, pid) => {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return sum + [...text.matchAll(/^Pss_(?:Anon|Shmem):\s+(\d+) kB/gm)].reduce((all, [, kiB]) => all + Number(kiB), 0);
  }, 0);
}

/** Of all VMs; there is one for each worker. */
async function linearMemoryKiB(adminSocket: string): Promise<number> {
  const text = await askAdmin(adminSocket, '/stats?filter=memory_bytes');
  return [...text.matchAll(/postern\.vm\.\d+\.memory_bytes: (\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0) / 1024;
}

async function allocatedKiB(adminSocket: string): Promise<number> {
  return Number(JSON.parse(await askAdmin(adminSocket, '/memory')).allocated) / 1024;
}

function growthMetrics(counts: number[]): Record<string, Metric> {
  const perConnection = counts.flatMap((count) => [
    [`at ${count}`, { title: `per connection at ${count}`, unit: 'KiB' }],
    [`envoy at ${count}`, { title: `the same without the helper`, unit: 'KiB' }],
  ]);
  return { ...Object.fromEntries(perConnection), helper: { title: 'growth of the helper', unit: 'KiB' } };
}

function keptMetrics(closed: number): Record<string, Metric> {
  return {
    kept: { title: `kept after ${closed} were closed`, unit: 'KiB' },
    used: { title: 'of it in use', unit: 'KiB' },
    vm: { title: "the filter's linear memory then", unit: 'KiB' },
    again: { title: `memory after ${closed} more, against that`, unit: '' },
  };
}

function growthGoals(counts: number[], arm: string, base: string, suffix: string): Goal[] {
  return [
    ...counts.map((count) => ({
      text: `memory per idle connection at ${count}${suffix}, against plain Envoy`,
      metric: `at ${count}`,
      arm,
      base,
      atMost: 1.05,
    })),
    {
      text: `growth of the helper with ${counts.at(-1)} connections${suffix}: none but what Node's heap varies by, KiB`,
      metric: 'helper',
      arm,
      atMost: NODE_NOISE,
    },
  ];
}

function keptGoals(closed: number): Goal[] {
  return [
    {
      text: `memory after ${closed} more connections were closed, against after the first ${closed}: nothing but noise of 2 %`,
      metric: 'again',
      arm: 'postern',
      atMost: 1.02,
    },
    {
      text: `in use after ${closed} connections were closed, against plain Envoy: beside this only the VM's linear memory is kept (noise of 10 %: tables of hosts and statistics)`,
      metric: 'used',
      arm: 'postern',
      base: 'envoy',
      atMost: 1.1,
    },
  ];
}
