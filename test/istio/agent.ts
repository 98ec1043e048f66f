import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrapTemplate } from './bootstrap-template.ts';
import { ISTIOD } from './control-plane.ts';
import { binary } from './lab.ts';
import { OUTSIDE } from './network.ts';

export interface AgentOptions {
  name: string;
  namespace: string;
  labels: Record<string, string>;
  kind: 'sidecar' | 'router';
  serviceAccount: string;
  address: string;
  /** Where it runs, and what it finds there: what a kubelet mounts into istio-proxy's container. */
  directory: string;
  /** Of the service account, for istiod. */
  token: string;
  rootCertificate: string;
  envoy: string;
}

/** istio-agent, which gets certificates and configuration from istiod and starts Envoy. @returns its command */
export function agentCommand(options: AgentOptions): string[] {
  writeFiles(options);
  const { directory, namespace, kind } = options;
  const env = Object.entries(settings(options)).map(([key, value]) => `${key}=${value}`);
  const words = ['proxy', kind, '--domain', `${namespace}.svc.cluster.local`, '--proxyLogLevel=warning'];
  const template = ['--templateFile', templateFile(directory)];
  return ['env', `--chdir=${directory}`, ...env, binary('pilot-agent'), ...words, ...template];
}

const templateFile = (directory: string) => join(directory, 'bootstrap.json');
const rootFile = (directory: string) => join(directory, 'var/run/secrets/istio/root-cert.pem');

function writeFiles({ directory, labels, token, rootCertificate }: AgentOptions): void {
  const write = (file: string, text: string) => {
    const path = join(directory, file);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
  };
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"\n`);
  write('etc/istio/pod/labels', pairs.join(''));
  write('etc/istio/pod/annotations', '');
  write('var/run/secrets/tokens/istio-token', token);
  write('var/run/secrets/istio/root-cert.pem', rootCertificate);
  write('bootstrap.json', bootstrapTemplate());
}

function settings(options: AgentOptions): Record<string, string> {
  const { name, namespace, labels, serviceAccount, address, directory, envoy } = options;
  const root = rootFile(directory);
  const config = {
    discoveryAddress: `${ISTIOD}:15012`,
    binaryPath: envoy,
    configPath: join(directory, 'etc/istio/proxy'),
    concurrency: 1,
    terminationDrainDuration: '1s',
  };
  return {
    POD_NAME: name,
    POD_NAMESPACE: namespace,
    INSTANCE_IP: address,
    HOST_IP: OUTSIDE,
    SERVICE_ACCOUNT: serviceAccount,
    TRUST_DOMAIN: 'cluster.local',
    CA_ADDR: `${ISTIOD}:15012`,
    XDS_ROOT_CA: root,
    CA_ROOT_CA: root,
    ISTIO_BOOTSTRAP: templateFile(directory),
    ISTIO_META_CLUSTER_ID: 'Kubernetes',
    ISTIO_META_MESH_ID: 'cluster.local',
    ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
    // A bootstrap extension of istio-proxy only.
    ISTIO_META_METADATA_DISCOVERY: 'false',
    ISTIO_METAJSON_LABELS: JSON.stringify(labels),
    PROXY_CONFIG: JSON.stringify(config),
  };
}
