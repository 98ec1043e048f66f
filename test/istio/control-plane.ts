import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ControlPlane as Kubernetes } from '../cluster/control-plane.ts';
import { eventually } from '../cluster/eventually.ts';
import { startProgram } from '../cluster/start-program.ts';
import { type Daemon, freePorts } from '../live/daemon.ts';
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
  const kubernetes = await Kubernetes.start(directory, { controllers: false });
  let istiod: Daemon | undefined;
  const close = async () => {
    await istiod?.stop();
    await kubernetes.close();
  };
  try {
    const kubeconfig = kubernetes.kubeconfig('admin');
    const kubectl: ControlPlane['kubectl'] = (words, input) => kubernetes.kubectl(words, input);
    const istioctl = (words: string[]) => output(binary('istioctl'), words, { ...process.env, KUBECONFIG: kubeconfig });
    await installIstio(kubectl, istioctl);
    const started = await startIstiod({ directory, address }, kubeconfig);
    istiod = started.istiod;
    await started.ready();
    const metrics = async () => (await fetch(`http://${started.monitoring}/metrics`)).text();
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

/** What it says, warnings included. */
async function output(command: string, words: string[], env: NodeJS.ProcessEnv): Promise<string> {
  try {
    const { stdout, stderr } = await execute(command, words, { env, maxBuffer: OUTPUT_LIMIT });
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${words.join(' ')}: ${stdout}${stderr}`, { cause: error });
  }
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

interface Istiod {
  istiod: Daemon;
  ready(): Promise<unknown>;
  /** The address of its metrics. */
  monitoring: string;
}

async function startIstiod(options: ControlPlaneOptions, kubeconfig: string): Promise<Istiod> {
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
  const log = join(directory, 'istiod.log');
  const command = [
    ...['env', `--chdir=${directory}`, ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)],
    ...[binary('pilot-discovery'), 'discovery', '--kubeconfig', kubeconfig, '--meshConfig', mesh],
    ...['--networksConfig', '/nonexistent', '--grpcAddr', '', '--httpsAddr', '', '--ctrlz_port', '0'],
    ...['--secureGRPCAddr', `${address}:15012`, '--httpAddr', `127.0.0.1:${http}`],
    ...['--monitoringAddr', `127.0.0.1:${monitoring}`],
  ];
  const look = async () => ((await fetch(`http://127.0.0.1:${http}/ready`)).ok ? true : undefined);
  return {
    istiod: await startProgram(command, log),
    ready: () => eventually('istiod is ready', look, { log }),
    monitoring: `127.0.0.1:${monitoring}`,
  };
}

const MESH = {
  defaultConfig: { discoveryAddress: `${ISTIOD}:15012` },
  outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' },
  ingressControllerMode: 'OFF',
  enablePrometheusMerge: false,
};
