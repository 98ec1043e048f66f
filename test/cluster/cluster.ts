import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { ROOT } from '../../cli/paths.ts';
import { Api } from '../../sidecar-auth/kubernetes/operator/api.ts';
import type { KubeObject } from '../../sidecar-auth/kubernetes/operator/objects.ts';
import { availableOf } from '../../sidecar-auth/kubernetes/operator/status.ts';
import { API_VERSION, type Destination, GROUP, KIND, PLURAL, VERSION } from '../../sidecar-auth/kubernetes/resource.ts';
import type { Daemon } from '../live/daemon.ts';
import { ControlPlane, run } from './control-plane.ts';
import { eventually } from './eventually.ts';
import { program } from './programs.ts';
import { startProgram } from './start-program.ts';

const CHART = join(ROOT, 'envoy', 'helm', 'postern');
const OPERATOR = join(ROOT, 'sidecar-auth', 'kubernetes', 'operator', 'main.ts');
/** What of the chart is there: there are no nodes for the rest. */
const RIGHTS = /^(ServiceAccount|ClusterRole|ClusterRoleBinding|Role|RoleBinding)$/;

/** The namespace of gateway and operator. */
export const GATEWAY_NAMESPACE = 'postern';
/** Labels by which the operator looks after a namespace, where it is told so. */
export const MANAGED = { 'connectivity.postern.dev/namespace': GATEWAY_NAMESPACE };
const SELECTOR =
  'app.kubernetes.io/name=postern,app.kubernetes.io/instance=postern,app.kubernetes.io/component=gateway';

/** A control plane with the chart's CRD, service accounts and rights, and what tests do with it. */
export class Cluster {
  readonly plane: ControlPlane;
  readonly directory: string;
  /** As the admin. */
  readonly api: Api;
  #operators = 0;
  readonly #daemons: Daemon[] = [];

  private constructor(plane: ControlPlane, directory: string) {
    this.plane = plane;
    this.directory = directory;
    const config = new KubeConfig();
    config.loadFromFile(plane.kubeconfig('admin'));
    this.api = new Api(config);
  }

  static async start(): Promise<Cluster> {
    const directory = mkdtempSync(join(tmpdir(), 'postern-cluster-'));
    const plane = await ControlPlane.start(directory).catch((error) => {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    });
    const cluster = new Cluster(plane, directory);
    try {
      await cluster.#install();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const daemon of this.#daemons.reverse()) await daemon.stop();
    this.api.close();
    await this.plane.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** One of the operator's replicas, with the rights of its service account. */
  async startOperator(more: string[] = []): Promise<Daemon> {
    const log = join(this.directory, `operator-${++this.#operators}.log`);
    const words = ['--gateway-namespace', GATEWAY_NAMESPACE, '--gateway-selector', SELECTOR, ...more];
    const env = { KUBECONFIG: this.plane.kubeconfig('operator') };
    return this.keep(await startProgram([process.execPath, OPERATOR, ...words], log, env));
  }

  /** It is stopped with the cluster. */
  keep(daemon: Daemon): Daemon {
    this.#daemons.push(daemon);
    return daemon;
  }

  async addNamespace(name: string, labels: Record<string, string> = {}): Promise<void> {
    await this.api.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  }

  /** Creates or changes it. */
  async put(namespace: string, name: string, spec: object, annotations: Record<string, string> = {}): Promise<void> {
    const resource = { apiVersion: API_VERSION, kind: KIND, metadata: { name, namespace, annotations }, spec };
    await this.api.apply(this.path(namespace, name), resource, true);
  }

  async putSecret(namespace: string, name: string, stringData: Record<string, string>): Promise<void> {
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, stringData };
    await this.api.apply(`/api/v1/namespaces/${namespace}/secrets/${name}`, secret, true);
  }

  /** Does not wait until it is gone. */
  async remove(namespace: string, name: string): Promise<void> {
    await this.api.delete(this.path(namespace, name));
  }

  async get(namespace: string, name: string): Promise<Destination> {
    return await this.api.get<Destination>(this.path(namespace, name));
  }

  async list(namespace: string): Promise<Destination[]> {
    const { items } = await this.api.get<{ items: Destination[] }>(this.path(namespace));
    return items;
  }

  /** The names of a namespace's objects of a kind, such as `api/v1` `services`. */
  async names(group: string, namespace: string, plural: string): Promise<string[]> {
    const { items } = await this.api.get<{ items: KubeObject[] }>(`/${group}/namespaces/${namespace}/${plural}`);
    return items.map(({ metadata }) => metadata.name);
  }

  /** The resource, once its condition has this reason and is about what was asked for last. */
  async settled(namespace: string, name: string, reason = 'ConfigurationSuccessful'): Promise<Destination> {
    return await eventually(`${namespace}/${name} is ${reason}`, async () => {
      const resource = await this.get(namespace, name);
      const condition = availableOf(resource.status);
      const isNews = condition?.observedGeneration === resource.metadata.generation;
      if (isNews && condition?.reason === reason) return resource;
      throw new Error(`${condition?.reason}: ${condition?.message}`);
    });
  }

  path(namespace: string, name?: string): string {
    const collection = `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/${PLURAL}`;
    return name === undefined ? collection : `${collection}/${name}`;
  }

  async #install(): Promise<void> {
    const { plane } = this;
    await plane.kubectl(['create', '-f', join(CHART, 'crds', 'destination.yaml')]);
    await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    await this.addNamespace(GATEWAY_NAMESPACE);
    const words = ['template', 'postern', CHART, '--namespace', GATEWAY_NAMESPACE];
    const labels = ['--set', 'config.managedNamespacesMode=labelSelector'];
    const manifests = (await run(program('helm'), [...words, ...labels])).split(/^---$/m);
    const rights = manifests.filter((text) => RIGHTS.test(/^kind: (\w+)/m.exec(text)?.[1] ?? ''));
    await plane.kubectl(['apply', '--namespace', GATEWAY_NAMESPACE, '-f', '-'], rights.join('---\n'));
  }
}

export const PLAIN = { secretRef: { name: 'mail' }, protocol: 'smtp' };
