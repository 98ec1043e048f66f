import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { BindingTokens } from '../binding/tokens.ts';
import { ConfigMistakes, mistakeLine } from '../config/mistakes.ts';
import { type Destination, destinationFromProperties } from '../destination/destination.ts';
import { clean, Failure } from '../failure.ts';
import { type FetchWith, Outage, type Retries } from '../http.ts';
import { standIns } from '../observe/counted.ts';
import type { Labels } from '../observe/openmetrics.ts';
import { TokenCache } from '../token/cache.ts';
import type { Grants } from '../token/grants/grants.ts';
import type { TokenIssuer } from '../token/issuer.ts';
import { warnUnverified } from '../unverified.ts';
import { type Instance, type Place, ServiceClient } from './client.ts';
import { type IssuerDeps, serviceIssuer } from './issuer.ts';
import { DESTINATION_MS, KEPT_DESTINATIONS, OUTAGE_MS, PATIENCE_MS, REFUSAL_MS } from './limits.ts';
import { type DestinationRef, keyOf } from './reference.ts';
import { destinationRequest } from './request.ts';

export interface DestinationServiceOptions {
  /** The first is the one that references without `instance` mean. */
  instances: Instance[];
  fetchWith: FetchWith;
  grants: Grants;
  log: { warn(details: object, text: string): void };
  /** For tests. */
  retries?: Retries;
}

export interface Found {
  destination: Destination;
  /** Absent where the destination has no tokens. */
  issuer?: TokenIssuer;
  /** Date.now() from which on the service is asked again. */
  until: number;
}

/** What the service said: a destination, or that it has none. */
interface Answered {
  found: Omit<Found, 'until'> | undefined;
  configuration?: Record<string, unknown>;
}

interface Kept {
  outcome: Answered | { failure: unknown };
  /** The last answer, also while a failure stands: it is what is used in an outage. */
  good?: Answered;
  /** Of the binding that it was asked with. */
  revision: string;
  /** Date.now() from which on the service is asked again. */
  until: number;
}

interface Flight {
  answer: Promise<Found | undefined>;
  /** Resolves when those who know something already have waited long enough. */
  late: Promise<unknown>;
}

/** The Destination service as a source of destinations and tokens. */
export class DestinationService {
  readonly #client: ServiceClient;
  readonly #issuers: IssuerDeps;
  readonly #log: DestinationServiceOptions['log'];
  /** Oldest first. */
  readonly #kept = new Map<string, Kept>();
  readonly #flights = new Map<string, Flight>();

  constructor({ instances, fetchWith, grants, log, retries = {} }: DestinationServiceOptions) {
    const fetch = fetchWith();
    this.#client = new ServiceClient(new BindingTokens({ fetchWith, retries, log }), fetch, retries);
    this.#client.use(instances);
    this.#issuers = { client: this.#client, cache: new TokenCache(), grants, fetch };
    this.#log = log;
  }

  /** Other instances. What is known of those that stay is kept. The first is the one that references without `instance` mean. */
  use(instances: Instance[]): void {
    this.#client.use(instances);
  }

  /** The mail server refused this access token: no issuer hands it out again. */
  refused(value: string): void {
    this.#issuers.cache.refused(value);
    this.#issuers.grants.refused(value);
  }

  /**
   * The destination, kept for 2 minutes, and longer while the service is down or slow; undefined: the service has none
   * of this name. The same `destination` comes as long as its properties stay the same.
   * @param otherwise whether the caller knows what to do in an outage: then it does not wait in one for long
   * @throws Failure unknown_destination (the destination or the request is wrong), token (no token for the service);
   *   Outage where the service is down and has never answered
   */
  async find(ref: DestinationRef, otherwise = false): Promise<Found | undefined> {
    const place = await this.#client.place(ref);
    const key = `${place.service} ${keyOf(ref)}`;
    const kept = this.#kept.get(key);
    if (kept && isFresh(kept, place, otherwise)) return told(kept);
    const { answer, late } = this.#flights.get(key) ?? this.#begin(key, ref, place, kept);
    if (!kept || !canStand(kept, otherwise)) return await answer;
    return await Promise.race([answer, late.then(() => told(kept))]);
  }

  #begin(key: string, ref: DestinationRef, place: Place, kept: Kept | undefined): Flight {
    const flight = {
      answer: this.#ask(key, ref, place, kept).finally(() => this.#flights.delete(key)),
      late: sleep(PATIENCE_MS, undefined, { ref: false }),
    };
    this.#flights.set(key, flight);
    return flight;
  }

  async #ask(key: string, ref: DestinationRef, place: Place, last: Kept | undefined): Promise<Found | undefined> {
    const keep = (outcome: Kept['outcome'], ms: number, good = last?.good) =>
      this.#keep(key, { outcome, ...(good && { good }), revision: place.revision, until: Date.now() + ms });
    try {
      const answer = await this.#client.get(ref, 'configuration');
      const good = this.#answered(ref, place.uri, answer?.configuration, last?.good);
      standIns.clear(standIn(ref));
      return keep(good, answer ? DESTINATION_MS : REFUSAL_MS, good);
    } catch (failure) {
      // What the service refuses is not made up for: a 4xx is no outage.
      if (!(failure instanceof Outage)) {
        standIns.clear(standIn(ref));
        return keep({ failure }, REFUSAL_MS);
      }
      if (!last?.good) return keep({ failure }, OUTAGE_MS);
      this.#reportOutage(ref, failure);
      standIns.set(standIn(ref), 1);
      return keep(last.good, OUTAGE_MS);
    }
  }

  #answered(
    ref: DestinationRef,
    uri: string,
    configuration: Record<string, unknown> | undefined,
    last: Answered | undefined,
  ): Answered {
    if (!configuration) return { found: undefined };
    if (isDeepStrictEqual(last?.configuration, configuration) && last) return last;
    const { url } = destinationRequest(uri, ref, 'token');
    const destination = readDestination(configuration, url.href);
    const issuer = serviceIssuer(ref, destination, configuration, this.#issuers);
    if (!destination.verify) warnUnverified(this.#log, destination, ref.tenant);
    return { found: { destination, ...(issuer && { issuer }) }, configuration };
  }

  #reportOutage({ name, tenant }: DestinationRef, { message }: Outage): void {
    this.#log.warn(
      { destination: name, tenant, text: message },
      'the Destination service is down; what it said last is used',
    );
  }

  #keep(key: string, kept: Kept): Found | undefined {
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= KEPT_DESTINATIONS) break;
      this.#kept.delete(oldest);
    }
    return told(kept);
  }
}

/** A rotated binding mends a failure at once; what is good stays for its time, so that a half rotated one does no harm. */
function isFresh({ outcome, revision, until }: Kept, place: Place, otherwise: boolean): boolean {
  if (Date.now() >= until) return false;
  if (!('failure' in outcome)) return true;
  return revision === place.revision && (otherwise || !(outcome.failure instanceof Outage));
}

/** Whether this can be told in place of news that come late. */
function canStand({ outcome }: Kept, otherwise: boolean): boolean {
  return 'failure' in outcome ? otherwise && outcome.failure instanceof Outage : outcome.found !== undefined;
}

function standIn({ name, tenant = '', instance = '' }: DestinationRef): Labels {
  return { destination: name, tenant, service_instance: instance, by: 'last_answer' };
}

function told({ outcome, until }: Kept): Found | undefined {
  if ('failure' in outcome) throw outcome.failure;
  return outcome.found && { ...outcome.found, until };
}

function readDestination(configuration: Record<string, unknown>, where: string): Destination {
  try {
    return destinationFromProperties(configuration, where);
  } catch (error) {
    if (!(error instanceof ConfigMistakes)) throw error;
    const lines = error.mistakes.map((mistake) => mistakeLine({ ...mistake, file: 'the destination' }));
    throw new Failure('unknown_destination', clean(lines.join('; ')));
  }
}
