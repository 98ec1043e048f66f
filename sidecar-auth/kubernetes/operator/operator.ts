import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import {
  type Destination,
  GROUP,
  INSTALLATION_LABEL,
  keyOf,
  modeOf,
  PLURAL,
  ResourceMistake,
  VERSION,
} from '../resource.ts';
import { type Api, isConflict, isNotFound } from './api.ts';
import { carryOut } from './carry-out.ts';
import { Follow, type Named } from './follow.ts';
import { KeptLookUp } from './kept-look-up.ts';
import { Ledger } from './ledger.ts';
import type { LookUp } from './look-up.ts';
import { servicesOf } from './names.ts';
import { type KubeObject, pathOf } from './objects.ts';
import { ownerOf } from './owned.ts';
import { laneOwner, Ports, type Rest } from './ports.ts';
import { WorkQueue } from './queue.ts';
import { reconcile, type World } from './reconcile.ts';
import { laneOf } from './services.ts';
import type { Settings } from './settings.ts';
import { availableOf } from './status.ts';

/** How many resources at once: the API server is what is waited for. */
const WORKERS = 8;
/** After which everything is listed and looked at anew, whatever was or was not heard. */
const RESYNC_MS = 5 * 60_000;
/** A resource that can't be served is looked at again: what it waits for need not be something that is watched. */
const RETRY_MS = 20_000;
const LEDGER = 'postern-ports';
const LEDGER_RETRY_MS = 2_000;

export interface OperatorOptions {
  config: KubeConfig;
  api: Api;
  settings: Settings;
  /** Of namespaces; absent: all are looked after. */
  managedNamespaces?: string;
  lookUp?: LookUp;
  log: Logger;
}

/** What a leader does, from the moment in which it is one. A new one begins with what the API server has, and nothing else. */
export class Operator {
  readonly #options: OperatorOptions;
  readonly #ledger: Ledger;
  readonly #queue: WorkQueue;
  readonly #destinations: Follow<Destination>;
  readonly #namespaces: Follow<KubeObject> | undefined;
  /** What was made for resources, kind by kind. */
  readonly #made: Follow<KubeObject>[];
  readonly #lookUp: KeptLookUp | undefined;
  #ports: Ports;
  #isReady = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: OperatorOptions) {
    const { api, settings, managedNamespaces } = options;
    this.#options = options;
    this.#ledger = new Ledger(api, { name: LEDGER, namespace: settings.gatewayNamespace });
    this.#ports = new Ports(settings.ports);
    this.#lookUp = options.lookUp && new KeptLookUp(options.lookUp);
    this.#queue = new WorkQueue({
      work: (key) => this.#work(key),
      onError: (key, error, waitMs) => this.#reportFailure(key, error, waitMs),
      workers: WORKERS,
    });
    this.#destinations = this.#follow<Destination>(`/apis/${GROUP}/${VERSION}/${PLURAL}`, (resource) =>
      this.#changed(resource),
    );
    if (managedNamespaces !== undefined) {
      const onChange = ({ metadata }: KubeObject) => this.#addAll(metadata.name);
      this.#namespaces = this.#follow<KubeObject>('/api/v1/namespaces', onChange, managedNamespaces);
    }
    const paths = ['/api/v1/services', '/apis/networking.k8s.io/v1/networkpolicies'];
    if (settings.istio) paths.push('/apis/networking.istio.io/v1alpha3/envoyfilters');
    const ours = `${INSTALLATION_LABEL}=${settings.gatewayNamespace}`;
    this.#made = paths.map((path) => this.#follow<KubeObject>(path, (object) => this.#touched(object), ours));
  }

  /** Works until the signal ends it. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    try {
      await Promise.all(this.#follows.map((follow) => follow.start(signal)));
      await this.#restorePorts(signal);
      this.#isReady = true;
      this.#addAll();
      this.#timer = setInterval(() => this.#resync(), RESYNC_MS);
      log.info({ resources: this.#destinations.list().length }, 'leads, and has seen all resources');
      if (!signal.aborted) await once(signal, 'abort');
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#close();
    }
  }

  get resources(): readonly Destination[] {
    return this.#destinations.list();
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  #close(): void {
    this.#isReady = false;
    clearInterval(this.#timer);
    this.#queue.close();
    for (const follow of this.#follows) follow.close();
  }

  get #follows(): { start(signal: AbortSignal): Promise<void>; renew(): Promise<void>; close(): void }[] {
    return [this.#destinations, ...this.#made, ...(this.#namespaces ? [this.#namespaces] : [])];
  }

  #follow<T extends Named>(path: string, onChange: (object: T) => void, labelSelector?: string): Follow<T> {
    const { config, api, log } = this.#options;
    const onError = (error: unknown) => log.warn({ path, text: textOf(error) }, 'the API server can not be followed');
    return new Follow<T>({
      config,
      api,
      path,
      onChange,
      onError,
      ...(labelSelector !== undefined && { labelSelector }),
    });
  }

  /** Services first: only the operator writes them, while a status may be written by others. */
  async #restorePorts(signal: AbortSignal): Promise<void> {
    const { settings } = this.#options;
    const now = Date.now();
    this.#ports = new Ports(settings.ports, await this.#readLedger(signal));
    for (const object of this.#objects()) {
      // Elsewhere anybody may make something that looks like it.
      const lane = object.metadata.namespace === settings.gatewayNamespace ? laneOf(object) : undefined;
      if (lane) this.#ports.restore(lane.owner, lane.port, now);
    }
    for (const resource of [...this.resources].sort(byAge)) {
      if (modeOf(resource) !== 'gateway' || !this.#isManaged(resource.metadata.namespace)) continue;
      for (const { tenant, port } of resource.status?.ports ?? []) {
        this.#ports.restore(laneOwner(keyOf(resource), tenant), port, now);
      }
    }
  }

  /** Until it works: without it a port that rests could be given away. */
  async #readLedger(signal: AbortSignal): Promise<Map<number, Rest>> {
    for (;;) {
      try {
        return await this.#ledger.read();
      } catch (error) {
        this.#options.log.warn({ text: textOf(error) }, `the ConfigMap ${LEDGER} can not be read`);
        await sleep(LEDGER_RETRY_MS, undefined, { signal });
      }
    }
  }

  #changed(resource: Destination): void {
    this.#add(keyOf(resource));
    // What was in their way may be gone.
    for (const sibling of this.#siblings(resource)) {
      if (availableOf(sibling.status)?.status === 'False') this.#add(keyOf(sibling));
    }
  }

  #touched(object: KubeObject): void {
    for (const key of keysOf(object)) this.#add(key);
  }

  #addAll(namespace?: string): void {
    const isMeant = (object: { metadata: { namespace: string } }) =>
      namespace === undefined || object.metadata.namespace === namespace;
    for (const resource of this.resources.filter(isMeant)) this.#add(keyOf(resource));
    if (namespace !== undefined) return;
    // What belongs to a resource that is gone.
    for (const object of this.#objects()) this.#touched(object);
  }

  #add(key: string): void {
    if (this.#isReady) this.#queue.add(key);
  }

  async #resync(): Promise<void> {
    for (const follow of this.#follows) await follow.renew();
    this.#addAll();
  }

  async #work(key: string): Promise<void> {
    const { api, settings } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const resource = this.#destinations.get(name, namespace);
    if (!resource) this.#lookUp?.forget(key);
    const seen =
      resource && this.#isManaged(namespace) ? await this.#lookAround(resource) : { foreign: new Set<string>() };
    // From here to carryOut's first request nothing else runs: what it plans with is what it changes.
    const world: World = {
      settings,
      now: Date.now(),
      isManaged: this.#isManaged(namespace),
      siblings: resource ? this.#siblings(resource) : [],
      ports: this.#ports,
      made: this.#madeFor(key, namespace),
      ...seen,
    };
    const plan = reconcile(key, resource, world);
    await carryOut(resource, plan, { api, ledger: this.#ledger, settings }, this.#ports);
    const verdict = availableOf(plan.status ?? resource?.status);
    if (resource && verdict?.status === 'False') this.#queue.addAfter(key, RETRY_MS);
  }

  #madeFor(key: string, namespace: string): KubeObject[] {
    const places = [namespace, this.#options.settings.gatewayNamespace];
    return this.#objects().filter(
      (object) => places.includes(object.metadata.namespace) && keysOf(object).includes(key),
    );
  }

  async #lookAround(resource: Destination): Promise<Pick<World, 'foreign' | 'looked'>> {
    const needsProtocol = !resource.spec.protocol && resource.spec.destinationRef !== undefined;
    const looked = needsProtocol ? await this.#askService(resource) : undefined;
    const foreign = new Set<string>();
    for (const { service } of servicesOf(resource)) if (await this.#isForeign(resource, service)) foreign.add(service);
    return { foreign, ...(looked !== undefined && { looked }) };
  }

  async #askService(resource: Destination): Promise<World['looked']> {
    try {
      return await this.#lookUp?.answer(resource);
    } catch (error) {
      // It is asked again soon.
      return new ResourceMistake('FailedToApplyConfiguration', `spec.protocol is not set, and ${textOf(error)}`);
    }
  }

  /** Only ours are followed, for there may be very many Services. */
  async #isForeign(resource: Destination, name: string): Promise<boolean> {
    const { namespace } = resource.metadata;
    const isIt = (object: KubeObject) =>
      object.kind === 'Service' && object.metadata.name === name && object.metadata.namespace === namespace;
    const known = this.#objects().find(isIt);
    const found = known ?? (await this.#service(namespace, name));
    return found !== undefined && !keysOf(found).includes(keyOf(resource));
  }

  async #service(namespace: string, name: string): Promise<KubeObject | undefined> {
    const path = pathOf({ apiVersion: 'v1', kind: 'Service' }, namespace, name);
    return await this.#options.api.get<KubeObject>(path).catch((error) => {
      if (!isNotFound(error)) throw error;
      return undefined;
    });
  }

  #siblings({ metadata }: Destination): Destination[] {
    return this.resources.filter(
      (other) =>
        other.metadata.namespace === metadata.namespace &&
        other.metadata.name !== metadata.name &&
        other.metadata.deletionTimestamp === undefined,
    );
  }

  #objects(): KubeObject[] {
    return this.#made.flatMap((follow) => follow.list());
  }

  #isManaged(namespace: string): boolean {
    return this.#namespaces === undefined || this.#namespaces.get(namespace) !== undefined;
  }

  #reportFailure(destination: string, error: unknown, waitMs: number): void {
    const { log } = this.#options;
    const details = { destination, text: textOf(error), waitMs };
    // Something newer is there: the next look is at that.
    if (isConflict(error)) log.debug(details, 'another write came first');
    else log.warn(details, 'not done yet; it is tried again');
  }
}

/** The resources that an object was made for. */
function keysOf(object: KubeObject): string[] {
  const owner = ownerOf(object);
  if (owner !== undefined) return [owner];
  const { namespace, ownerReferences = [] } = object.metadata;
  return ownerReferences.map(({ name }) => `${namespace}/${name}`);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function byAge({ metadata: one }: Destination, { metadata: other }: Destination): number {
  const [a, b] = [one, other].map(({ creationTimestamp, uid }) => `${creationTimestamp ?? ''} ${uid}`);
  return (a ?? '') < (b ?? '') ? -1 : 1;
}
