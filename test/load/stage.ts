import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { askAdmin } from '../../envoy/admin.ts';
import { freePorts } from '../live/daemon.ts';
import type { Account } from './messages.ts';
import { helperStatus } from './postern.ts';
import { LoadServers } from './processes.ts';

export const WORKERS = 2;

const ACCOUNTS: Account[] = ['one', 'two'].map((user) => ({ user, password: `password of ${user}` }));

/** Postern with two workers in front of two SMTP servers, each of which knows an account of its own. */
export class LoadStage {
  readonly servers: LoadServers;
  /** Of the two listeners. */
  readonly ports: number[];
  readonly postern: Running;
  readonly #directory: string;

  private constructor(directory: string, servers: LoadServers, ports: number[], postern: Running) {
    this.#directory = directory;
    this.servers = servers;
    this.ports = ports;
    this.postern = postern;
  }

  static async start(): Promise<LoadStage> {
    const directory = await mkdtemp(join(tmpdir(), 'load-'));
    const servers = await LoadServers.start(ACCOUNTS);
    const ports = await freePorts(ACCOUNTS.length);
    const configFile = await writeFiles(directory, servers.ports, ports);
    return new LoadStage(
      directory,
      servers,
      ports,
      await up({ configFile, workers: WORKERS, logFile: join(directory, 'log') }),
    );
  }

  /** Octets of each VM's memory, by the gauge's name. */
  async memory(): Promise<Record<string, number>> {
    return this.#stats('memory_bytes');
  }

  /** Connections of apps that Envoy has open. */
  async open(): Promise<number> {
    // Each listener has a number of its own and one for each worker.
    const stats = await this.#stats('^listener%5C.[0-9._]%2B%5C.downstream_cx_active$');
    return Object.values(stats).reduce((sum, count) => sum + count, 0);
  }

  /** How often sidecar-auth was asked for a route, by listener. */
  async asked(): Promise<Record<string, number>> {
    return (await helperStatus(this.postern.runDir)).sessions;
  }

  async #stats(filter: string): Promise<Record<string, number>> {
    const text = await askAdmin(this.postern.adminSocket, `/stats?filter=${filter}`);
    return Object.fromEntries([...text.matchAll(/^(\S+): (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]));
  }

  async stop(): Promise<void> {
    await this.postern.stop();
    await this.servers.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function writeFiles(directory: string, serverPorts: number[], ports: number[]): Promise<string> {
  await mkdir(join(directory, 'destinations'));
  for (const [index, { user, password }] of ACCOUNTS.entries()) {
    const destination = {
      Name: user,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.transport.protocol': 'smtp',
      'mail.smtp.host': '127.0.0.1',
      'mail.smtp.port': String(serverPorts[index]),
      'mail.smtp.starttls.enable': 'false',
      'mail.user': user,
      'mail.password': password,
    };
    await writeFile(join(directory, 'destinations', `${user}.json`), JSON.stringify(destination));
  }
  const file = join(directory, 'postern.yaml');
  const listeners = ACCOUNTS.map(({ user }, index) => ({ destination: user, address: `127.0.0.1:${ports[index]}` }));
  await writeFile(file, JSON.stringify({ destinations: { directory: './destinations' }, listeners }));
  return file;
}

/** Descriptors that a process may have: setrlimit(2)'s soft limit, which Node raises to the hard one for itself and its children. */
export async function descriptorLimit(): Promise<number> {
  const [, soft] = /^Max open files +(\d+|unlimited)/m.exec(await readFile('/proc/self/limits', 'utf8')) ?? [];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
