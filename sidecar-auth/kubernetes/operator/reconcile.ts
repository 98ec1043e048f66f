import type { Protocol } from '../../failure.ts';
import {
  type Destination,
  type DestinationPort,
  type DestinationStatus,
  keyOf,
  modeOf,
  ResourceMistake,
  SERVICE_PORTS,
  serviceName,
  tenantsOf,
} from '../resource.ts';
import { meshObjects } from './mesh.ts';
import { demandMeshPort, demandNames } from './names.ts';
import { covers, identity, type KubeObject } from './objects.ts';
import { networkPolicy } from './policy.ts';
import { laneOwner, type Ports } from './ports.ts';
import { type Front, laneServices } from './services.ts';
import { finalizerOf, type Settings } from './settings.ts';
import { isSameStatus, withVerdict } from './status.ts';

/** What the Destination service said of a destination: the key of SERVICE_PORTS, such as `smtps`. */
export type Transport = keyof typeof SERVICE_PORTS;

/** All that a decision depends on. */
export interface World {
  settings: Settings;
  now: number;
  /** Whether the operator looks after this namespace. */
  isManaged: boolean;
  /** The other resources of its namespace. */
  siblings: Destination[];
  ports: Ports;
  /** What was made for this resource, as it is now. */
  made: KubeObject[];
  /** Names of Services in the resource's namespace that someone else made. */
  foreign: ReadonlySet<string>;
  /** Where `protocol` is not set: what the Destination service says. */
  looked?: Transport | ResourceMistake;
}

/** What is to be done, in this order. All of it may be done again. */
export interface Plan {
  /** Before anything else, so that nothing is left behind when the resource goes. */
  addFinalizer: boolean;
  /** Whose port each is from now on. */
  take: [owner: string, port: number][];
  /** Ports that nobody else gets for a day: written down before the status forgets them. */
  retire: number[];
  /** What the status is to say of ports before there is anything that leads there, and at the end. */
  status?: DestinationStatus;
  /** Not there yet. */
  create: KubeObject[];
  /** There, but not as it must be. */
  change: KubeObject[];
  remove: KubeObject[];
  /** After everything else: the resource may go. */
  removeFinalizer: boolean;
}

const NOTHING: Plan = {
  addFinalizer: false,
  take: [],
  retire: [],
  create: [],
  change: [],
  remove: [],
  removeFinalizer: false,
};

/** What to do for a resource, or for one that is gone. Without side effects. */
export function reconcile(key: string, resource: Destination | undefined, world: World): Plan {
  if (!resource || resource.metadata.deletionTimestamp !== undefined || !world.isManaged) {
    return farewell(key, resource, world);
  }
  const addFinalizer = !hasFinalizer(resource, world.settings);
  try {
    return { ...NOTHING, addFinalizer, ...serve(resource, world) };
  } catch (error) {
    if (!(error instanceof ResourceMistake)) throw error;
    return { ...NOTHING, addFinalizer, ...refuse(resource, error, world) };
  }
}

function serve(resource: Destination, world: World): Partial<Plan> {
  const front = frontOf(resource, world);
  demandNames(resource, world.siblings, world.ports);
  if (modeOf(resource) === 'istio') return serveMesh(resource, front, world);
  const { lanes, take } = lanesOf(resource, world);
  demandUnused(lanes, world);
  const wanted = [
    ...lanes.flatMap((lane) => laneServices(resource, lane, front, world.settings)),
    networkPolicy(resource, lanes, world.settings),
  ];
  const hosts = lanes.map(({ service }) => `${service}.${resource.metadata.namespace}`);
  return {
    ...changes(wanted, world.made),
    take,
    retire: unwanted(keyOf(resource), lanes, world.ports),
    ...statusOf(resource, lanes, front, `apps reach it at ${hosts.join(', ')}, port ${front.port}`, world),
  };
}

function serveMesh(resource: Destination, front: Front, world: World): Partial<Plan> {
  if (!world.settings.istio) fail('mode istio is not turned on in this installation');
  if (tenantsOf(resource)[0] !== undefined) {
    throw new ResourceMistake(
      'ConfigurationError-MultitenancyAnnotation-Invalid',
      'in mode istio a resource is for one subscriber, whom sidecar-auth beside the proxy is told: take the annotation away',
    );
  }
  demandMeshPort(resource, world.siblings);
  const { name: service, namespace } = resource.metadata;
  demandUnused([{ service }], world);
  const wanted = meshObjects(resource, world.siblings, front, world.settings);
  const message = `apps with a sidecar reach it at ${service}.${namespace}, port ${front.port}`;
  return {
    ...changes(wanted, world.made),
    retire: unwanted(keyOf(resource), [], world.ports),
    ...statusOf(resource, [], front, message, world),
  };
}

/** What works goes on to work, as it was; only who may connect follows the resource even now. */
function refuse(resource: Destination, { reason, message }: ResourceMistake, world: World): Partial<Plan> {
  const lanes = (resource.status?.ports ?? []).filter(
    ({ tenant, port }) => world.ports.of(laneOwner(keyOf(resource), tenant)) === port,
  );
  const policy = lanes.length > 0 ? [networkPolicy(resource, lanes, world.settings)] : [];
  const { ports: _, ...last } = resource.status ?? {};
  const status = withVerdict(
    resource,
    { ...last, ...(lanes.length > 0 && { ports: lanes }) },
    { reason, message },
    world.now,
  );
  return { ...changes(policy, world.made), remove: [], ...changedStatus(resource, status) };
}

/** The resource goes, or its namespace is no longer looked after. */
function farewell(key: string, resource: Destination | undefined, world: World): Plan {
  const isOurs = resource !== undefined && hasFinalizer(resource, world.settings);
  const stays = isOurs && resource.metadata.deletionTimestamp === undefined;
  return {
    ...NOTHING,
    retire: world.ports.heldBy(key).map(([, port]) => port),
    remove: world.made.filter((object) => !isShared(object)),
    removeFinalizer: isOurs,
    ...(stays && changedStatus(resource, {})),
  };
}

/** @throws ResourceMistake where the protocol can't be known */
function frontOf({ spec }: Destination, { looked }: World): Front {
  if (spec.protocol) return { protocol: spec.protocol, port: spec.service?.port ?? SERVICE_PORTS[spec.protocol] };
  if (looked instanceof ResourceMistake) throw looked;
  if (!looked) return fail('set spec.protocol (smtp, imap or pop3): the operator has no Destination service to ask');
  return { protocol: looked.replace(/s$/, '') as Protocol, port: spec.service?.port ?? SERVICE_PORTS[looked] };
}

/** A lane for each subscriber, with the port that it has, or had not long ago, or a new one. */
function lanesOf(
  resource: Destination,
  { ports, settings, now }: World,
): { lanes: DestinationPort[]; take: Plan['take'] } {
  const tenants = tenantsOf(resource);
  const owner = (tenant: string | undefined) => laneOwner(keyOf(resource), tenant);
  const fresh = ports.free(tenants.length, now);
  const take: Plan['take'] = [];
  const lanes = tenants.map((tenant) => {
    const port = ports.of(owner(tenant)) ?? ports.rested(owner(tenant), now) ?? fresh.shift();
    if (port === undefined) {
      return fail(`no port of ${settings.ports.first} to ${settings.ports.last} is left: freed ones rest for a day`);
    }
    if (ports.holder(port) === undefined) take.push([owner(tenant), port]);
    return { ...(tenant !== undefined && { tenant }), port, service: serviceName(resource.metadata.name, tenant) };
  });
  return { lanes, take };
}

/** @throws ResourceMistake where someone else has made a Service of that name */
function demandUnused(lanes: { service: string }[], { foreign }: World): void {
  const taken = lanes.find(({ service }) => foreign.has(service));
  if (!taken) return;
  throw new ResourceMistake(
    'ConfigurationError-K8sResourceWithNameAlreadyPresent',
    `there is a Service ${taken.service} in this namespace that Postern did not make: rename one of them`,
  );
}

/** Ports of subscribers that are no longer there. */
function unwanted(key: string, lanes: DestinationPort[], ports: Ports): number[] {
  const wanted = new Set(lanes.map(({ port }) => port));
  return ports
    .heldBy(key)
    .map(([, port]) => port)
    .filter((port) => !wanted.has(port));
}

function changes(wanted: KubeObject[], made: KubeObject[]): Pick<Plan, 'create' | 'change' | 'remove'> {
  const now = new Map(made.map((object) => [identity(object), object]));
  const names = new Set(wanted.map(identity));
  return {
    create: wanted.filter((object) => !now.has(identity(object))),
    change: wanted.filter((object) => now.has(identity(object)) && !covers(now.get(identity(object)), object)),
    remove: made.filter((object) => !names.has(identity(object)) && !isShared(object)),
  };
}

/** The mesh's filter for pods that other resources select, too. */
function isShared({ metadata }: KubeObject): boolean {
  return (metadata.ownerReferences?.length ?? 0) > 1;
}

function statusOf(
  resource: Destination,
  lanes: DestinationPort[],
  { protocol, port }: Front,
  message: string,
  { now }: World,
): { status?: DestinationStatus } {
  const { name, namespace } = resource.metadata;
  const said = {
    protocol,
    servicePort: port,
    service: `${lanes[0]?.service ?? name}.${namespace}`,
    ...(lanes.length > 0 && { ports: lanes }),
  };
  return changedStatus(resource, withVerdict(resource, said, { reason: 'ConfigurationSuccessful', message }, now));
}

function changedStatus(resource: Destination, status: DestinationStatus): { status?: DestinationStatus } {
  return isSameStatus(resource.status, status) ? {} : { status };
}

function hasFinalizer({ metadata }: Destination, settings: Settings): boolean {
  return metadata.finalizers?.includes(finalizerOf(settings)) ?? false;
}

function fail(text: string): never {
  throw new ResourceMistake('FailedToApplyConfiguration', text);
}
