import { randomInt } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ACCOUNT } from '../arms/arm.ts';
import { type PosternArm, runPostern } from '../arms/postern.ts';
import { cpuMicroseconds, memoryKiB } from '../processes.ts';
import { type Goal, interleave, type Metric, type Result, type Sample } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { Tool } from '../tool.ts';

const COUNTS = [10, 100, 1_000];
const FEWER_COUNTS = [10, 1_000];

/** Most connections at once while the start is looked at; a listener's backlog is not what is measured. */
const AT_ONCE = 50;

/** Milliseconds between two attempts to reach a new destination. */
const LOOK = 2;

/** Milliseconds within which a change must count, docs/configuration.md says one second: a failure, not a figure, beyond this. */
const NEW_TIMEOUT = 30_000;

/** Milliseconds after the start, and again those over which the CPU of a Postern that nobody uses is counted. */
const REST = 1_000;
const SHORT_REST = 500;

const START: Record<string, Metric> = {
  start: { title: 'start until all accept', unit: 'ms' },
  fresh: { title: 'until a new destination answers', unit: 'ms' },
  envoy: { title: 'memory of Envoy', unit: 'MiB' },
  helper: { title: 'memory of the helper', unit: 'MiB' },
  rest: { title: 'CPU at rest', unit: 'ms/s' },
};

const SESSIONS: Record<string, Metric> = {
  cpu: { title: 'CPU per session', unit: 'µs' },
  envoy: { title: 'CPU per session, Envoy', unit: 'µs' },
  helper: { title: 'CPU per session, helper', unit: 'µs' },
};

const SAME_COST: Goal = {
  text: 'CPU per session through one listener: 1,000 destinations against 10',
  metric: 'cpu',
  arm: '1000 destinations',
  base: '10 destinations',
  atMost: 1.05,
};

export const listeners: Case = { name: 'listeners', run };

async function run(stage: Stage): Promise<Result[]> {
  const counts = stage.quick ? FEWER_COUNTS : COUNTS;
  const starts: Record<string, Sample[]> = Object.fromEntries(counts.map((count) => [armName(count), []]));
  for (let round = 1; round <= (stage.quick ? 1 : 3); round++) {
    for (const count of counts) {
      stage.progress(`listeners: start with ${count}, round ${round}`);
      starts[armName(count)]?.push(await measureStart(stage, count));
    }
  }
  return [
    { name: 'listeners start', title: 'a listener for each destination', metrics: START, arms: starts, goals: [] },
    {
      name: 'listeners sessions',
      title: 'sessions through one of many listeners (SMTP, 16 at once)',
      metrics: SESSIONS,
      arms: await measureSessions(stage, counts),
      goals: [SAME_COST],
    },
  ];
}

const armName = (count: number) => `${count} destinations`;

async function measureStart(stage: Stage, count: number): Promise<Sample> {
  const many = new Many(stage, count);
  const [ready, arm] = await timed(stage.add(many.start()));
  try {
    // Before any app has connected, whose sessions go on at the server for a while.
    const milliseconds = stage.quick ? SHORT_REST : REST;
    await sleep(milliseconds);
    const before = cpuMicroseconds(arm.pids());
    await sleep(milliseconds);
    const rest = (cpuMicroseconds(arm.pids()) - before) / milliseconds;
    const [envoy, helper] = [memoryKiB([arm.envoy]) / 1024, memoryKiB([arm.helper]) / 1024];
    const [accepting] = await timed(many.accept());
    await sleep(milliseconds);
    return { start: ready + accepting, envoy, helper, rest, fresh: await many.addOne() };
  } finally {
    await stage.clear();
  }
}

/** The milliseconds that it took, and what came of it. */
async function timed<T>(work: Promise<T>): Promise<[number, T]> {
  const begin = performance.now();
  const value = await work;
  return [performance.now() - begin, value];
}

async function measureSessions(stage: Stage, counts: number[]): Promise<Record<string, Sample[]>> {
  const all: (PosternArm & { many: Many })[] = [];
  for (const count of counts) {
    stage.progress(`listeners: sessions with ${count}`);
    const many = new Many(stage, count);
    all.push({ ...(await stage.add(many.start())), many });
  }
  const sessions = stage.quick ? 1_000 : 3_000;
  const samples = await interleave(all, stage.rounds, async ({ envoy, helper, many }) => {
    const before = { envoy: cpuMicroseconds([envoy]), helper: cpuMicroseconds([helper]) };
    await many.sessions(16, sessions);
    const own = (cpuMicroseconds([envoy]) - before.envoy) / sessions;
    const helpers = (cpuMicroseconds([helper]) - before.helper) / sessions;
    return { cpu: own + helpers, envoy: own, helper: helpers };
  });
  await stage.clear();
  return samples;
}

/** Of the listeners; below those that the kernel gives to outgoing connections. */
const FIRST_PORT = 20_000;

/** Postern with many destinations, all of them the same server. */
class Many {
  readonly #tool: Tool;
  readonly #directory: string;
  readonly #server: number;
  /** A loopback address of its own: of so many ports of 127.0.0.1, another program would have one. */
  readonly #host = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  readonly #name: string;
  #count: number;

  constructor(stage: Stage, count: number) {
    const { directory, upstream } = stage.options();
    this.#tool = stage.tool;
    this.#directory = directory;
    this.#server = upstream.smtp as number;
    this.#name = armName(count);
    this.#count = count;
    mkdirSync(join(directory, 'destinations'));
    for (let index = 0; index < count; index++) this.#writeDestination(index);
    this.#writeConfig();
  }

  start(): Promise<PosternArm> {
    return runPostern(this.#name, {}, this.#configFile);
  }

  /** Reaches every listener. @throws Error where one refuses */
  async accept(): Promise<void> {
    for (let first = 0; first < this.#count; first += AT_ONCE) {
      const some = Array.from({ length: Math.min(AT_ONCE, this.#count - first) }, (_, index) => first + index);
      await Promise.all(some.map((index) => this.#reach(index, 'connect')));
    }
  }

  /** Through the last listener. */
  async sessions(atOnce: number, sessions: number): Promise<void> {
    const address = `${this.#host}:${FIRST_PORT + this.#count - 1}`;
    await this.#tool.load({ protocol: 'smtp', address }, atOnce, sessions);
  }

  /** Milliseconds from the change of the files to the end of a session through the new listener. */
  async addOne(): Promise<number> {
    this.#writeDestination(this.#count++);
    const begin = performance.now();
    this.#writeConfig();
    while (!(await this.#reach(this.#count - 1, 'data').catch(() => false))) {
      if (performance.now() - begin > NEW_TIMEOUT) throw new Error('a new destination did not answer');
      await sleep(LOOK);
    }
    await this.sessions(1, 1);
    return performance.now() - begin;
  }

  /** Resolves when `event` has come: the connection, or the greeting. */
  async #reach(index: number, event: 'connect' | 'data'): Promise<true> {
    const socket = connect(FIRST_PORT + index, this.#host);
    try {
      return await new Promise((resolve, reject) => {
        socket.once(event, () => resolve(true)).once('error', reject);
        socket.once('close', () => reject(new Error('closed')));
      });
    } finally {
      socket.destroy();
    }
  }

  get #configFile(): string {
    return join(this.#directory, 'postern.yaml');
  }

  #writeDestination(index: number): void {
    const content = {
      Name: `mail-${index}`,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.transport.protocol': 'smtp',
      'mail.smtp.host': 'localhost',
      'mail.smtp.port': String(this.#server),
      'mail.smtp.starttls.enable': 'false',
      'mail.user': ACCOUNT.user,
      'mail.password': ACCOUNT.password,
    };
    replace(join(this.#directory, 'destinations', `mail-${index}.json`), content);
  }

  #writeConfig(): void {
    const listeners = Array.from({ length: this.#count }, (_, index) => ({
      destination: `mail-${index}`,
      address: `${this.#host}:${FIRST_PORT + index}`,
    }));
    replace(this.#configFile, { destinations: { directory: './destinations' }, listeners });
  }
}

/** Postern reads its files while they are written: each change is one rename. */
function replace(file: string, content: object): void {
  writeFileSync(`${file}.draft`, JSON.stringify(content));
  renameSync(`${file}.draft`, file);
}
