import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyBinary } from '../../cli/envoy-binary.ts';
import { filterBinary } from '../../cli/filter-binary.ts';
import { istio } from '../../cli/istio.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { type Mail, PLACES, portOf, startMail } from './mail.ts';
import { createNetwork, OUTSIDE, removeNetwork } from './network.ts';
import { Pod, type PodOptions } from './pod.ts';

/** Applications' namespace, the egress gateway's, and one that may not use it. */
export const CRM = 'crm';
export const EGRESS = 'mail-egress';
const OTHER = 'other';
const NAMESPACES = [CRM, EGRESS, OTHER];

const PODS = {
  /** Has sidecar-auth beside its proxy. */
  app: { name: 'app', namespace: CRM, labels: { app: 'crm' }, kind: 'sidecar', number: 10, serviceAccount: 'default' },
  /** Has a sidecar only, and uses the egress gateway. */
  client: {
    name: 'client',
    namespace: CRM,
    labels: { app: 'client' },
    kind: 'sidecar',
    number: 11,
    serviceAccount: 'default',
  },
  stranger: {
    name: 'stranger',
    namespace: OTHER,
    labels: { app: 'client' },
    kind: 'sidecar',
    number: 12,
    serviceAccount: 'default',
  },
  gateway: {
    name: 'gateway',
    namespace: EGRESS,
    labels: { istio: 'postern-egress' },
    kind: 'router',
    number: 13,
    serviceAccount: 'postern-egress',
  },
} as const satisfies Record<string, PodOptions>;

const NAMES = Object.values(PODS).map(({ name }) => name);
const ALL_PORTS = PLACES.map(({ protocol, purpose }) => portOf(protocol, purpose));

export interface Stage {
  plane: ControlPlane;
  mail: Mail;
  pods: Record<keyof typeof PODS, Pod>;
  /** What `postern istio` has printed: files. */
  manifests: { sidecar: string; egress: string };
  /** The cluster address of the Service `postern` in a namespace. */
  service(namespace: string): Promise<string>;
  restartHelper(): Promise<void>;
  close(): Promise<void>;
}

/** Everything, in the order in which a cluster has it: sidecar-auth before the proxy. */
export async function startStage(): Promise<Stage> {
  const directory = mkdtempSync(join(tmpdir(), 'mesh-'));
  const closing: (() => Promise<void>)[] = [async () => rmSync(directory, { recursive: true, force: true })];
  const close = async () => {
    for (const step of closing.reverse()) await step();
  };
  try {
    await removeNetwork(NAMES);
    closing.push(() => removeNetwork(NAMES));
    await createNetwork();
    const mail = await startMail(directory);
    closing.push(mail.close);
    const plane = await startControlPlane({ directory, address: OUTSIDE });
    closing.push(plane.close);
    const manifests = printed(directory, mail);
    await declare(plane, manifests);
    const pods = await createPods(directory, plane, closing);
    const [envoy, filter] = await Promise.all([envoyBinary(), filterBinary()]);
    const startHelper = () => pods.app.startHelper(mail.files.sidecar, filter);
    await startHelper();
    await pods.gateway.startHelper(mail.files.egress, filter);
    for (const pod of Object.values(pods)) await pod.startProxy(plane, envoy, ALL_PORTS);
    const service = (namespace: string) =>
      plane.kubectl(['-n', namespace, 'get', 'service', 'postern', '-o', 'jsonpath={.spec.clusterIP}']);
    return { plane, mail, pods, manifests, service, restartHelper: startHelper, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function printed(directory: string, { files }: Mail): Stage['manifests'] {
  const write = (name: string, text: string) => {
    const file = join(directory, name);
    writeFileSync(file, text);
    return file;
  };
  return {
    sidecar: write('sidecar.yaml', istio({ config: files.sidecar, namespace: CRM, selector: 'app=crm' })),
    egress: write('egress.yaml', istio({ config: files.egress, namespace: EGRESS, egress: true, allow: CRM })),
  };
}

async function declare({ kubectl }: ControlPlane, { sidecar, egress }: Stage['manifests']): Promise<void> {
  for (const namespace of NAMESPACES) {
    await kubectl(['create', 'namespace', namespace]);
    await kubectl(['label', 'namespace', namespace, 'istio-injection=enabled']);
    await kubectl(['-n', namespace, 'create', 'serviceaccount', 'default']);
  }
  await kubectl(['apply', '-f', sidecar, '-f', egress]);
}

async function createPods(directory: string, plane: ControlPlane, closing: (() => Promise<void>)[]) {
  const create = async (options: PodOptions) => {
    const pod = await Pod.create(options, directory);
    closing.push(() => pod.close());
    await pod.register(plane);
    return pod;
  };
  const pods = {
    app: await create(PODS.app),
    client: await create(PODS.client),
    stranger: await create(PODS.stranger),
    gateway: await create(PODS.gateway),
  };
  await plane.kubectl(['apply', '-f', '-'], JSON.stringify(gatewayEndpoints(pods.gateway.address)));
  return pods;
}

/** What a controller makes of the gateway's Service and pod. */
function gatewayEndpoints(address: string): object {
  const ports = PLACES.map(({ protocol, purpose }) => {
    const port = portOf(protocol, purpose);
    return { name: `tcp-${protocol}-${port}`, port, protocol: 'TCP' };
  });
  const targetRef = { kind: 'Pod', name: PODS.gateway.name, namespace: EGRESS };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'postern-egress',
      namespace: EGRESS,
      labels: { 'kubernetes.io/service-name': 'postern-egress' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true }, targetRef }],
    ports,
  };
}
