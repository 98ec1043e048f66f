import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Daemon, freePorts } from '../live/daemon.ts';
import { daemon, eventually } from './daemon.ts';
import { binary } from './lab.ts';

const execute = promisify(execFile);
const OUTPUT_LIMIT = 32 * 1024 * 1024;

/** The name by which agents know istiod; its certificate is for that. */
export const ISTIOD = 'istiod.istio-system.svc';

export interface ControlPlane {
  /** `kubectl` with these words; `input` is what `-f -` reads. */
  kubectl(words: string[], input?: string): Promise<string>;
  istioctl(words: string[]): Promise<string>;
  /** Declares the webhook for injection, which does not run here: pods that come after it are refused. */
  declareInjector(): Promise<void>;
  /** Of istiod, as Prometheus reads them. */
  metrics(): Promise<string>;
  close(): Promise<void>;
}

export interface ControlPlaneOptions {
  directory: string;
  /** Where agents reach istiod. */
  address: string;
}

/** A kube-apiserver with its etcd, and an istiod: nothing that is not declared leaves a sidecar, and all traffic between proxies is mutual TLS. */
export async function startControlPlane({ directory, address }: ControlPlaneOptions): Promise<ControlPlane> {
  const running: Daemon[] = [];
  const start = async (name: string, command: string[]) => {
    running.unshift(await daemon(command, join(directory, `${name}.log`)));
  };
  const close = async () => {
    for (const each of running) await each.stop();
  };
  try {
    const kubeconfig = await startKubernetes(directory, start);
    const env = { ...process.env, KUBECONFIG: kubeconfig };
    const kubectl = (words: string[], input?: string) => output(binary('kubectl'), words, env, input);
    const istioctl = (words: string[]) => output(binary('istioctl'), words, env);
    await eventually('kube-apiserver', () => kubectl(['get', '--raw', '/readyz']), join(directory, 'apiserver.log'));
    await installIstio(kubectl, istioctl);
    const monitoring = await startIstiod({ directory, address }, kubeconfig, start);
    const metrics = async () => (await fetch(`http://${monitoring}/metrics`)).text();
    const declareInjector = async () => {
      const webhooks = await generated(istioctl, 'MutatingWebhookConfiguration');
      await kubectl(['apply', '-f', '-'], webhooks);
    };
    return { kubectl, istioctl, declareInjector, metrics, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function output(command: string, words: string[], env: NodeJS.ProcessEnv, input?: string): Promise<string> {
  const running = execute(command, words, { env, maxBuffer: OUTPUT_LIMIT });
  running.child.stdin?.end(input ?? '');
  try {
    const { stdout, stderr } = await running;
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${words.join(' ')}: ${stdout}${stderr}`, { cause: error });
  }
}

type Start = (name: string, command: string[]) => Promise<void>;

/** @returns the kubeconfig's path */
async function startKubernetes(directory: string, start: Start): Promise<string> {
  const [client, peer, secure] = await freePorts(3);
  const key = join(directory, 'service-accounts.key');
  await execute('openssl', ['genrsa', '-out', key, '2048']);
  const token = randomBytes(16).toString('hex');
  const tokens = join(directory, 'tokens.csv');
  writeFileSync(tokens, `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  const etcd = `http://127.0.0.1:${client}`;
  const peers = `http://127.0.0.1:${peer}`;
  await start('etcd', [
    'etcd',
    ...['--data-dir', join(directory, 'etcd'), '--unsafe-no-fsync'],
    ...['--listen-client-urls', etcd, '--advertise-client-urls', etcd, '--listen-peer-urls', peers],
    ...['--initial-advertise-peer-urls', peers, '--initial-cluster', `default=${peers}`],
  ]);
  await start('apiserver', [
    binary('kube-apiserver'),
    ...[`--etcd-servers=${etcd}`, '--bind-address=127.0.0.1', `--secure-port=${secure}`],
    ...[`--cert-dir=${join(directory, 'apiserver')}`, `--token-auth-file=${tokens}`, '--authorization-mode=RBAC'],
    ...[`--service-account-key-file=${key}`, `--service-account-signing-key-file=${key}`],
    ...['--service-account-issuer=https://kubernetes.default.svc', '--service-cluster-ip-range=10.96.0.0/16'],
    '--disable-admission-plugins=ServiceAccount',
  ]);
  return writeKubeconfig(directory, `https://127.0.0.1:${secure}`, token);
}

function writeKubeconfig(directory: string, server: string, token: string): string {
  const file = join(directory, 'kubeconfig');
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'test', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  };
  writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  return file;
}

/** What comes out of istioctl is of its version. */
async function generated(istioctl: ControlPlane['istioctl'], kind: string): Promise<string> {
  const all = await istioctl(['manifest', 'generate', '--set', 'profile=default']);
  const isOfKind = (text: string) => text.split('\n').includes(`kind: ${kind}`);
  return all.split(/^---$/m).filter(isOfKind).join('---\n');
}

async function installIstio(kubectl: ControlPlane['kubectl'], istioctl: ControlPlane['istioctl']): Promise<void> {
  await kubectl(['create', 'namespace', 'istio-system']);
  await kubectl(['apply', '--server-side', '-f', '-'], await generated(istioctl, 'CustomResourceDefinition'));
  await kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
  const strict = { metadata: { name: 'default', namespace: 'istio-system' }, spec: { mtls: { mode: 'STRICT' } } };
  const authentication = { apiVersion: 'security.istio.io/v1', kind: 'PeerAuthentication', ...strict };
  await kubectl(['apply', '-f', '-'], JSON.stringify(authentication));
}

/** These two put filters into every listener that are in istio-proxy only; here a plain Envoy stands in its place. */
const FOR_PLAIN_ENVOY = { PILOT_ENABLE_METADATA_EXCHANGE: 'false', PILOT_ENABLE_ALPN_FILTER: 'false' };

/** @returns the address of its metrics */
async function startIstiod(options: ControlPlaneOptions, kubeconfig: string, start: Start): Promise<string> {
  const { directory, address } = options;
  const mesh = join(directory, 'mesh.yaml');
  writeFileSync(mesh, JSON.stringify(MESH));
  const [http, monitoring] = await freePorts(2);
  const settings = {
    ...FOR_PLAIN_ENVOY,
    PILOT_ENABLE_GATEWAY_API: 'false',
    POD_NAMESPACE: 'istio-system',
    POD_NAME: 'istiod',
    TOKEN_ISSUER: 'https://kubernetes.default.svc',
  };
  await start('istiod', [
    ...['env', `--chdir=${directory}`, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)],
    ...[binary('pilot-discovery'), 'discovery', '--kubeconfig', kubeconfig, '--meshConfig', mesh],
    ...['--networksConfig', '/nonexistent', '--grpcAddr', '', '--httpsAddr', '', '--ctrlz_port', '0'],
    ...['--secureGRPCAddr', `${address}:15012`, '--httpAddr', `127.0.0.1:${http}`],
    ...['--monitoringAddr', `127.0.0.1:${monitoring}`],
  ]);
  const look = async () => ((await fetch(`http://127.0.0.1:${http}/ready`)).ok ? true : undefined);
  await eventually('istiod', look, join(directory, 'istiod.log'));
  return `127.0.0.1:${monitoring}`;
}

const MESH = {
  defaultConfig: { discoveryAddress: `${ISTIOD}:15012` },
  outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' },
  ingressControllerMode: 'OFF',
  enablePrometheusMerge: false,
};
