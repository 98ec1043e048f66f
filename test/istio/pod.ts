import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { ROOT } from '../../cli/paths.ts';
import { run } from '../../cli/run.ts';
import { RUN_DIR } from '../../sidecar-auth/kubernetes/istio/run-dir.ts';
import { eventually } from '../cluster/eventually.ts';
import { startProgram } from '../cluster/start-program.ts';
import type { Daemon } from '../live/daemon.ts';
import { Wire } from '../live/wire.ts';
import { agentCommand } from './agent.ts';
import { ADMIN_PORT } from './bootstrap-template.ts';
import type { ControlPlane } from './control-plane.ts';
import { createNamespace, type Namespace, PROXY_USER, redirect } from './network.ts';

export interface PodOptions {
  name: string;
  namespace: string;
  labels: Record<string, string>;
  kind: 'sidecar' | 'router';
  /** Last one of its address. */
  number: number;
  serviceAccount: string;
}

/** Dials in the pod as root, which stands for the application's user: all but istio-proxy's user is redirected. */
const DIAL = `const socket = require('node:net').connect({ host: process.argv[1], port: +process.argv[2], allowHalfOpen: true });
process.stdin.pipe(socket); socket.pipe(process.stdout); socket.on('error', () => {}).on('end', () => process.exit()).on('close', () => process.exit());`;

/** Gets the folder that the pod's containers share at its place, and becomes istio-proxy's user; the capability is for files of root's that it must read. */
const AS_PROXY = `mount --bind "$0" ${RUN_DIR} && exec setpriv --reuid=${PROXY_USER} --regid=${PROXY_USER} --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override "$@"`;

/** A network namespace in a pod's place, with istio-agent and Envoy, and where it is asked for with sidecar-auth before them. */
export class Pod {
  readonly #options: PodOptions;
  readonly #directory: string;
  readonly #network: Namespace;
  readonly #running: Daemon[] = [];
  readonly #dialled: (() => void)[] = [];
  #helper: Daemon | undefined;

  private constructor(options: PodOptions, directory: string, network: Namespace) {
    this.#options = options;
    this.#directory = directory;
    this.#network = network;
  }

  static async create(options: PodOptions, parent: string): Promise<Pod> {
    const directory = join(parent, options.name);
    for (const part of ['run', 'etc/istio/proxy']) mkdirSync(join(directory, part), { recursive: true });
    mkdirSync(RUN_DIR, { recursive: true });
    const network = await createNamespace(options.name, options.number);
    if (options.kind === 'sidecar') await redirect(network);
    return new Pod(options, directory, network);
  }

  get address(): string {
    return this.#network.address;
  }

  /** What `kubectl apply` and a kubelet make of it. */
  async register({ kubectl }: ControlPlane): Promise<void> {
    const { name, namespace, labels, serviceAccount } = this.#options;
    const spec = {
      serviceAccountName: serviceAccount,
      nodeName: 'node',
      containers: [{ name: 'istio-proxy', image: 'istio/proxyv2' }],
    };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels }, spec };
    await kubectl(['apply', '-f', '-'], JSON.stringify(pod));
    const ready = [{ type: 'Ready', status: 'True' }];
    const status = { phase: 'Running', podIP: this.address, podIPs: [{ ip: this.address }], conditions: ready };
    const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
    await kubectl(['-n', namespace, 'patch', 'pod', name, ...patch]);
  }

  /** sidecar-auth as the injection template starts it. */
  async startHelper(configFile: string, filterFile: string): Promise<void> {
    const main = join(ROOT, 'sidecar-auth/kubernetes/istio/main.ts');
    const words = ['--config', configFile, '--run-dir', RUN_DIR, '--filter', filterFile, '--workers', '1'];
    this.#helper = await this.#start('sidecar-auth', [process.execPath, main, ...words]);
    // Its last step.
    const look = () => this.execute(['test', '-S', join(this.#directory, 'run/relay.sock')]);
    await eventually('sidecar-auth is ready', look, { log: this.#log('sidecar-auth') });
  }

  async stopHelper(): Promise<void> {
    await this.#helper?.stop();
  }

  /** istio-agent, which starts Envoy. Resolves when Envoy has all listeners of these ports. */
  async startProxy(plane: ControlPlane, envoy: string, ports: number[]): Promise<void> {
    const { name, namespace, serviceAccount } = this.#options;
    const rootCertificate = await rootCertificateOf(plane, namespace);
    const token = await plane.kubectl(['-n', namespace, 'create', 'token', serviceAccount, '--audience', 'istio-ca']);
    const place = { directory: this.#directory, address: this.address };
    const command = agentCommand({ ...this.#options, ...place, rootCertificate, token, envoy });
    this.#running.push(await this.#start('agent', command));
    await eventually(`${name} listens`, () => this.#listens(ports), { log: this.#log('agent') });
  }

  async #listens(ports: number[]): Promise<true | undefined> {
    const listeners = await this.admin('/listeners');
    return ports.every((port) => listeners.includes(`_${port}::`)) ? true : undefined;
  }

  /** Envoy's admin interface. */
  admin(path: string): Promise<string> {
    const script = `fetch('http://127.0.0.1:${ADMIN_PORT}${path}').then((answer) => answer.text()).then(console.log)`;
    return this.execute([process.execPath, '-e', script]);
  }

  execute(command: string[]): Promise<string> {
    return run('ip', ['netns', 'exec', this.#network.name, ...command]);
  }

  /** A connection that an application in the pod makes. */
  async dial(host: string, port: number): Promise<Wire> {
    const door = createServer({ allowHalfOpen: true }, (client) => this.#bring(client, host, port));
    door.listen(0, '127.0.0.1');
    await once(door, 'listening');
    this.#dialled.push(() => door.close());
    return Wire.open((door.address() as AddressInfo).port);
  }

  #bring(client: Socket, host: string, port: number): void {
    const words = ['netns', 'exec', this.#network.name, process.execPath, '-e', DIAL, host, String(port)];
    const child = spawn('ip', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#dialled.push(() => child.kill());
    client.on('error', () => {}).on('close', () => child.kill());
    child.stdin.on('error', () => {});
    client.pipe(child.stdin);
    child.stdout.pipe(client);
  }

  #start(name: string, command: string[]): Promise<Daemon> {
    const shared = join(this.#directory, 'run');
    const inPod = ['ip', 'netns', 'exec', this.#network.name, 'sh', '-c', AS_PROXY, shared, ...command];
    return startProgram(inPod, this.#log(name));
  }

  #log(name: string): string {
    return join(this.#directory, `${name}.log`);
  }

  async close(): Promise<void> {
    for (const hangUp of this.#dialled) hangUp();
    for (const each of this.#running) await each.stop();
    await this.stopHelper();
  }
}

/** istiod puts it into every namespace. */
function rootCertificateOf({ kubectl }: ControlPlane, namespace: string): Promise<string> {
  const words = ['-n', namespace, 'get', 'configmap', 'istio-ca-root-cert', '-o', 'jsonpath={.data.root-cert\\.pem}'];
  return eventually(`the root certificate is in ${namespace}`, async () => (await kubectl(words)) || undefined);
}
