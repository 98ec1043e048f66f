import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, type Destination, type DestinationStatus, KIND } from '../resource.ts';
import { type Api, ApiError, isConflict, isNotFound } from './api.ts';
import { recordEvent } from './events.ts';
import type { Ledger } from './ledger.ts';
import { type KubeObject, pathOf } from './objects.ts';
import type { Ports } from './ports.ts';
import type { Plan } from './reconcile.ts';
import { finalizerOf, type Settings } from './settings.ts';
import { availableOf, withVerdict } from './status.ts';

export interface Hands {
  api: Api;
  ledger: Ledger;
  settings: Settings;
}

/**
 * Does what is planned. Where it stops in the middle, the next plan has what is left. Writes to the resource carry its resourceVersion: a 409 says that there is a
 * newer one, with which it begins again.
 */
export async function carryOut(
  resource: Destination | undefined,
  plan: Plan,
  hands: Hands,
  ports: Ports,
): Promise<void> {
  carryOutPorts(plan, ports, Date.now());
  if (plan.retire.length > 0) hands.ledger.isWritten = false;
  await hands.ledger.keep(ports);
  let current = resource;
  if (current && plan.addFinalizer) current = await writeFinalizer(current, true, hands);
  if (current && plan.status) current = await announce(current, plan.status, hands.api);
  try {
    // What someone else made meanwhile has fields of theirs: a 409, and the next look sees whose it is.
    for (const object of plan.create) await hands.api.apply(pathOfObject(object), object, false);
    for (const object of plan.change) await hands.api.apply(pathOfObject(object), object, true);
    for (const object of plan.remove) await hands.api.delete(pathOfObject(object));
  } catch (error) {
    if (current) await reportFailure(current, error, hands.api);
    throw error;
  }
  if (current && plan.status) current = await conclude(current, plan.status, hands.api);
  if (current && plan.removeFinalizer) await writeFinalizer(current, false, hands);
}

/** In one go with the planning: no other plan gets the same port. */
export function carryOutPorts({ take, retire }: Plan, ports: Ports, now: number): void {
  for (const [owner, port] of take) ports.take(owner, port);
  for (const port of retire) ports.retire(port, now);
}

/** Ports stand in the status before anything leads there: gateways open them meanwhile. The verdict comes last. */
async function announce(resource: Destination, wanted: DestinationStatus, api: Api): Promise<Destination> {
  if (isDeepStrictEqual(wanted.ports, resource.status?.ports)) return resource;
  const { conditions: _, observedGeneration: __, ...facts } = wanted;
  const { conditions, observedGeneration } = resource.status ?? {};
  return await writeStatus(
    resource,
    { ...facts, ...(conditions && { conditions }), ...(observedGeneration !== undefined && { observedGeneration }) },
    api,
  );
}

async function conclude(resource: Destination, status: DestinationStatus, api: Api): Promise<Destination> {
  const before = availableOf(resource.status);
  const written = await writeStatus(resource, status, api);
  const verdict = availableOf(status);
  const isNews = verdict && (verdict.reason !== before?.reason || verdict.message !== before.message);
  if (isNews) await recordEvent(api, written, verdict);
  return written;
}

/** An error of the moment, such as an API server that restarts, is no news for the user. */
async function reportFailure(resource: Destination, error: unknown, api: Api): Promise<void> {
  if (!(error instanceof ApiError) || isConflict(error) || error.status >= 500 || error.status === 429) return;
  const verdict = { reason: 'FailedToApplyConfiguration', message: error.message } as const;
  if (availableOf(resource.status)?.message === verdict.message) return;
  await conclude(resource, withVerdict(resource, resource.status ?? {}, verdict, Date.now()), api).catch(() => {});
}

async function writeStatus(resource: Destination, status: DestinationStatus, api: Api): Promise<Destination> {
  const { name, namespace } = resource.metadata;
  const whole = { ...resource, apiVersion: API_VERSION, kind: KIND, status };
  return await api.replace<Destination>(`${pathOf(whole, namespace, name)}/status`, whole);
}

async function writeFinalizer(resource: Destination, wanted: boolean, { api, settings }: Hands): Promise<Destination> {
  const { name, namespace, resourceVersion, finalizers = [] } = resource.metadata;
  const ours = finalizerOf(settings);
  const others = finalizers.filter((finalizer) => finalizer !== ours);
  const path = pathOf({ apiVersion: API_VERSION, kind: KIND }, namespace, name);
  const metadata = { resourceVersion, finalizers: wanted ? [...others, ours] : others };
  try {
    return await api.merge<Destination>(path, { metadata });
  } catch (error) {
    // Gone already, which is all that taking it away is for.
    if (!wanted && isNotFound(error)) return resource;
    throw error;
  }
}

function pathOfObject(object: KubeObject): string {
  return pathOf(object, object.metadata.namespace, object.metadata.name);
}
