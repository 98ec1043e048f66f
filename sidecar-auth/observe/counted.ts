import { Failure } from '../failure.ts';
import { type AnyMeter, Counter, Gauge, Histogram } from './meters.ts';
import type { Family, Labels } from './openmetrics.ts';
import { traffic } from './traffic.ts';

// What sidecar-auth counts, of the whole process. Labels hold names of the configuration and codes only: no secret, user or token.

export const questions = new Counter(
  'postern_questions',
  "The filter's questions where a listener leads; outcome is ok or the failure.",
);
export const exchanges = new Counter(
  'postern_exchanges',
  'Tokens and codes that applications brought; outcome is ok, the failure, or superseded.',
);
export const rejections = new Counter(
  'postern_rejections',
  'Logins that servers refused; outcome is what came of it: ok (a new token), nothing_newer, the failure, or superseded.',
);
export const tokenRequests = new Counter(
  'postern_token_requests',
  "Requests for tokens, by source: the destination's own token service, destination_service, or binding (tokens for SAP's services). Outcome is ok, refused, or unavailable.",
);
export const serviceRequests = new Counter(
  'postern_destination_service_requests',
  'Questions to the Destination service; outcome is ok, not_found, refused, or outage.',
);
export const standIns = new Gauge(
  'postern_stand_ins',
  'Destinations for which the last answer, or a file, is used while the Destination service is down.',
);
export const relaySessions = new Counter(
  'postern_relay_sessions',
  'Connections that were to go through the relay; outcome is ok, the failure, or gone (the application left meanwhile).',
);
export const mistakes = new Gauge('postern_configuration_mistakes', 'Mistakes in FILE and destination files.');

const phases = new Histogram(
  'postern_phase_seconds',
  'Time that one step on the way to a server took, also where it failed.',
);

export type Phase = 'destination' | 'resolve' | 'token' | 'connect' | 'socks' | 'starttls' | 'tls';

/** Runs one step, which begins at once. */
export async function timed<T>(phase: Phase, destination: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    phases.observe({ phase, destination }, (performance.now() - started) / 1000);
  }
}

/** One request for a token, counted. `destination` is empty where the token is for a service. */
export async function tokenRequest<T>(
  source: 'destination' | 'destination_service' | 'binding',
  destination: string,
  work: () => Promise<T>,
): Promise<T> {
  let outcome = 'ok';
  try {
    return await work();
  } catch (error) {
    outcome = error instanceof Failure && !error.retry ? 'refused' : 'unavailable';
    throw error;
  } finally {
    tokenRequests.add({ source, destination, outcome });
  }
}

export function failureCode(error: unknown): string {
  return error instanceof Failure ? error.code : 'internal';
}

const METERS: AnyMeter[] = [
  questions,
  exchanges,
  rejections,
  tokenRequests,
  serviceRequests,
  standIns,
  relaySessions,
  mistakes,
  phases,
];

export function countedFamilies(): Family[] {
  return [...METERS.map((meter) => meter.family()), ...traffic.families()];
}

/** Destinations come and go for as long as the process lives: series of those that are gone are dropped. */
export function keepDestinations(names: ReadonlySet<string>): void {
  const wanted = ({ destination = '' }: Labels) => destination === '' || names.has(destination);
  for (const meter of [...METERS, traffic]) meter.keep(wanted);
}
