import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Daemon, freePorts } from '../live/daemon.ts';
import { eventually } from './eventually.ts';
import { program } from './programs.ts';
import { startProgram } from './start-program.ts';

const execute = promisify(execFile);
const OUTPUT_LIMIT = 64 * 1024 * 1024;

/** Who may ask, each with a token of its own; without an entry here nobody is anybody. */
export type User = 'admin' | 'operator' | 'gateway';

/** Names and groups as the API server would read them from service accounts' tokens. */
const USERS: Record<User, string> = {
  admin: 'admin,admin,"system:masters"',
  operator: account('operator'),
  gateway: account('gateway'),
};

function account(component: string): string {
  const name = `system:serviceaccount:postern:postern-${component}`;
  return `${name},${component},"system:serviceaccounts,system:serviceaccounts:postern"`;
}

interface Ports {
  etcd: number;
  peers: number;
  apiserver: number;
  controllers: number;
}

/** etcd, kube-apiserver and, where wanted, kube-controller-manager in a folder, on free ports. */
export class ControlPlane {
  readonly #directory: string;
  readonly #ports: Ports;
  readonly #tokens = new Map<string, string>();
  #etcd: Daemon | undefined;
  #apiserver: Daemon | undefined;
  #controllers: Daemon | undefined;

  private constructor(directory: string, ports: Ports) {
    this.#directory = directory;
    this.#ports = ports;
  }

  static async start(directory: string, { controllers: withControllers = true } = {}): Promise<ControlPlane> {
    const [etcd = 0, peers = 0, apiserver = 0, controllers = 0] = await freePorts(4);
    const plane = new ControlPlane(directory, { etcd, peers, apiserver, controllers });
    try {
      await plane.#start();
      if (withControllers) await plane.#startControllers();
      return plane;
    } catch (error) {
      await plane.close();
      throw error;
    }
  }

  /** Path of the kubeconfig of this user. */
  kubeconfig(user: User): string {
    return this.#file(`${user}.kubeconfig`);
  }

  /** As the admin; `input` is what `-f -` reads. @throws Error with what kubectl says */
  async kubectl(words: string[], input?: string): Promise<string> {
    return await run(program('kubectl'), ['--kubeconfig', this.kubeconfig('admin'), ...words], input);
  }

  /** Nobody hears of anything meanwhile: what happened is for them to find out. */
  async restartApiServer(): Promise<void> {
    await this.stopApiServer();
    await this.startApiServer();
  }

  /** Killed: told to end, it would wait a minute for those who watch. */
  async stopApiServer(): Promise<void> {
    const apiserver = this.#apiserver;
    this.#apiserver = undefined;
    if (!apiserver) return;
    process.kill(apiserver.pid, 'SIGKILL');
    await apiserver.stop();
  }

  async startApiServer(): Promise<void> {
    const key = this.#file('service-accounts.key');
    this.#apiserver = await this.#program('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${this.#ports.etcd}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${this.#ports.apiserver}`,
      `--cert-dir=${this.#file('apiserver')}`,
      `--token-auth-file=${this.#file('tokens.csv')}`,
      '--authorization-mode=RBAC',
      `--service-account-key-file=${key}`,
      `--service-account-signing-key-file=${key}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      '--service-cluster-ip-range=10.96.0.0/16',
      '--disable-admission-plugins=ServiceAccount',
    ]);
    const ready = () => this.kubectl(['get', '--raw', '/readyz']);
    await eventually('the API server is ready', ready, { log: this.#file('kube-apiserver.log') });
  }

  async close(): Promise<void> {
    await this.#controllers?.stop();
    await this.stopApiServer();
    await this.#etcd?.stop();
  }

  async #start(): Promise<void> {
    await run(program('openssl'), ['genrsa', '-out', this.#file('service-accounts.key'), '2048']);
    this.#writeUsers();
    const { etcd, peers } = this.#ports;
    const [client, peer] = [`http://127.0.0.1:${etcd}`, `http://127.0.0.1:${peers}`];
    this.#etcd = await this.#program('etcd', [
      ...['--data-dir', this.#file('etcd'), '--unsafe-no-fsync'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]);
    await this.startApiServer();
  }

  async #startControllers(): Promise<void> {
    const kubeconfig = this.kubeconfig('admin');
    this.#controllers = await this.#program('kube-controller-manager', [
      ...['--kubeconfig', kubeconfig, '--authentication-kubeconfig', kubeconfig],
      ...['--authorization-kubeconfig', kubeconfig, '--leader-elect=false'],
      ...[
        '--bind-address=127.0.0.1',
        `--secure-port=${this.#ports.controllers}`,
        `--cert-dir=${this.#file('controllers')}`,
      ],
      ...['--service-account-private-key-file', this.#file('service-accounts.key')],
    ]);
  }

  #program(name: 'etcd' | 'kube-apiserver' | 'kube-controller-manager', words: string[]): Promise<Daemon> {
    return startProgram([program(name), ...words], this.#file(`${name}.log`));
  }

  #writeUsers(): void {
    for (const user of Object.keys(USERS)) this.#tokens.set(user, randomBytes(16).toString('hex'));
    const lines = Object.entries(USERS).map(([user, rest]) => `${this.#tokens.get(user)},${rest}`);
    writeFileSync(this.#file('tokens.csv'), `${lines.join('\n')}\n`, { mode: 0o600 });
    for (const user of Object.keys(USERS) as User[]) this.#writeKubeconfig(user);
  }

  #writeKubeconfig(user: User): void {
    // The API server makes a certificate of its own when it starts for the first time.
    const cluster = { server: `https://127.0.0.1:${this.#ports.apiserver}`, 'insecure-skip-tls-verify': true };
    const content = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: user, user: { token: this.#tokens.get(user) } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user } }],
      'current-context': 'test',
    };
    writeFileSync(this.kubeconfig(user), JSON.stringify(content), { mode: 0o600 });
  }

  #file(name: string): string {
    return join(this.#directory, name);
  }
}

/** What a program says. @throws Error with that where it fails */
export async function run(command: string, words: string[], input?: string): Promise<string> {
  const running = execute(command, words, { maxBuffer: OUTPUT_LIMIT });
  running.child.stdin?.on('error', () => {}).end(input ?? '');
  try {
    return (await running).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stdout}${stderr}`, { cause: error });
  }
}
