import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { isError, type Seen, see } from './errors-app.ts';
import { type Cause, firstCommand } from './errors-causes.ts';
import { type ErrorWorld, LOCALHOST, startErrorWorld } from './errors-world.ts';

/** Seconds. Above Envoy's time limit for connecting, which is 5 s and has a row of its own. */
const LOGIN_TIMEOUT = 8;

/** Milliseconds until a change is seen: a second, and after a restart of sidecar-auth the longest pause between two polls (5 s). */
const CHANGE = 10_000;

/** Below the ports that Linux gives to outgoing connections. */
const FIRST_PORT = 20_001;

export interface Case {
  cause: Cause;
  protocol: Protocol;
  name: string;
  where: { host: string; port: number };
}

/** Postern with a listener for every cause and protocol, and the servers that go wrong. */
export class ErrorStage {
  readonly cases: Case[];
  readonly world: ErrorWorld;
  readonly #directory: string;
  readonly #running: Running;

  private constructor(directory: string, world: ErrorWorld, cases: Case[], running: Running) {
    this.#directory = directory;
    this.world = world;
    this.cases = cases;
    this.#running = running;
  }

  static async start(causes: Cause[]): Promise<ErrorStage> {
    const directory = await mkdtemp(join(tmpdir(), 'errors-'));
    await mkdir(join(directory, 'destinations'));
    const world = await startErrorWorld(directory);
    const cases = casesOf(causes);
    for (const { cause, protocol, name } of cases) {
      const properties = cause.properties(world, protocol);
      const destination = { Name: name, Type: 'MAIL', Authentication: 'BasicAuthentication', ...properties };
      await writeFile(destinationFile(directory, name), JSON.stringify(destination));
    }
    const configFile = join(directory, 'postern.yaml');
    await writeFile(configFile, JSON.stringify(configuration(world, cases)));
    // One worker: the limit of a listener is shared out among them.
    return new ErrorStage(
      directory,
      world,
      cases,
      await up({ configFile, workers: 1, logFile: join(directory, 'log') }),
    );
  }

  casesOf(cause: Cause): Case[] {
    return this.cases.filter((one) => one.cause === cause);
  }

  async see({ cause, protocol, where, name }: Case): Promise<Seen> {
    const seen = await see(where, (cause.says ?? firstCommand)(protocol), cause.staysOpen);
    return { ...seen, received: general(seen.received, name) };
  }

  /** Connects until the greeting is an error, or none. */
  async until(one: Case, error: boolean): Promise<void> {
    const deadline = Date.now() + CHANGE;
    while (isError((await see(one.where, [], true)).received) !== error) {
      if (Date.now() > deadline) throw new Error(`${one.cause.title}: ${error ? 'no error' : 'the error stays'}`);
      await sleep(20);
    }
  }

  deleteDestination({ name }: Case): Promise<void> {
    return rm(destinationFile(this.#directory, name));
  }

  /** Returns when its socket refuses. */
  async killHelper(): Promise<void> {
    process.kill(this.#running.helperPid(), 'SIGKILL');
    const { helperSocket } = runDirFiles(this.#running.runDir);
    while (await accepts(helperSocket)) await sleep(1);
  }

  async helperAnswers(): Promise<void> {
    const { helperSocket } = runDirFiles(this.#running.runDir);
    while (!(await accepts(helperSocket))) await sleep(20);
  }

  async stop(): Promise<void> {
    await this.#running.stop();
    await this.world.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function casesOf(causes: Cause[]): Case[] {
  // Every run has an address of its own, so that fixed ports are free.
  const [a, b] = [process.pid >> 8, process.pid].map((number) => number & 0xff);
  const host = `127.77.${a}.${b}`;
  const pairs = causes.flatMap((cause) => (['smtp', 'imap', 'pop3'] as const).map((protocol) => ({ cause, protocol })));
  return pairs.map((pair, index) => ({
    ...pair,
    name: `case-${String(index).padStart(3, '0')}`,
    where: { host, port: FIRST_PORT + index },
  }));
}

function destinationFile(directory: string, name: string): string {
  return join(directory, 'destinations', `${name}.json`);
}

function configuration(world: ErrorWorld, cases: Case[]): object {
  return {
    destinations: { directory: './destinations' },
    connectivity: { host: LOCALHOST, port: world.proxy.port, token: 'none' },
    tls: { additionalCAs: [world.caFile] },
    listeners: cases.map(({ cause, name, where }) => ({
      destination: name,
      address: `${where.host}:${where.port}`,
      ...cause.listener,
    })),
    loginTimeout: LOGIN_TIMEOUT,
  };
}

/** Without what is different in each run, and with the answer of a name server that is there. */
function general(received: string, name: string): string {
  return received
    .replaceAll(name, 'mail')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replace('the name server gave no answer (EAI_AGAIN)', 'the name is unknown (ENOTFOUND)');
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}
