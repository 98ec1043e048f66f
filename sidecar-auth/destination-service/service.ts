import { isDeepStrictEqual } from 'node:util';
import { BindingTokens } from '../binding/tokens.ts';
import { ConfigMistakes, mistakeLine } from '../config/mistakes.ts';
import { type Destination, destinationFromProperties } from '../destination/destination.ts';
import { clean, Failure } from '../failure.ts';
import { type FetchWith, Outage, type Retries } from '../http.ts';
import { TokenCache } from '../token/cache.ts';
import type { Grants } from '../token/grants/grants.ts';
import type { TokenIssuer } from '../token/issuer.ts';
import { type Instance, ServiceClient } from './client.ts';
import { type IssuerDeps, serviceIssuer } from './issuer.ts';
import { DESTINATION_MS, KEPT_DESTINATIONS, OUTAGE_MS, REFUSAL_MS } from './limits.ts';
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
}

interface Kept {
  outcome: { found: Found | undefined; configuration?: Record<string, unknown> } | { failure: unknown };
  /** Date.now() from which on the service is asked again. */
  until: number;
}

/** The Destination service as a source of destinations and tokens. */
export class DestinationService {
  readonly #client: ServiceClient;
  readonly #issuers: IssuerDeps;
  readonly #log: DestinationServiceOptions['log'];
  /** Oldest first. */
  readonly #kept = new Map<string, Kept>();
  readonly #flights = new Map<string, Promise<Found | undefined>>();

  constructor({ instances, fetchWith, grants, log, retries = {} }: DestinationServiceOptions) {
    const fetch = fetchWith();
    this.#client = new ServiceClient(instances, new BindingTokens({ fetchWith, retries }), fetch, retries);
    this.#issuers = { client: this.#client, cache: new TokenCache(), grants, fetch };
    this.#log = log;
  }

  /**
   * The destination, kept for 2 minutes, and longer while the service is down; undefined: the service has none of
   * this name. The same object comes as long as the destination's properties stay the same.
   * @throws Failure unknown_destination (the destination or the request is wrong), token (no token for the service)
   */
  async find(ref: DestinationRef): Promise<Found | undefined> {
    const { stamp, uri } = await this.#client.place(ref);
    const key = `${stamp} ${keyOf(ref)}`;
    const kept = this.#kept.get(key);
    if (kept && Date.now() < kept.until) return told(kept);
    const running = this.#flights.get(key);
    if (running) return await running;
    const flight = this.#ask(key, ref, uri, kept).finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return await flight;
  }

  async #ask(key: string, ref: DestinationRef, uri: string, last: Kept | undefined): Promise<Found | undefined> {
    try {
      const answer = await this.#client.get(ref, 'configuration');
      if (!answer) return this.#keep(key, { found: undefined }, REFUSAL_MS);
      const { configuration } = answer;
      const same = last && 'found' in last.outcome && isDeepStrictEqual(last.outcome.configuration, configuration);
      return this.#keep(key, same ? last.outcome : this.#outcome(ref, uri, configuration), DESTINATION_MS);
    } catch (failure) {
      return this.#failed(key, ref, last, failure);
    }
  }

  #outcome(ref: DestinationRef, uri: string, configuration: Record<string, unknown>): Kept['outcome'] {
    const { url } = destinationRequest(uri, ref, 'token');
    const destination = readDestination(configuration, url.href);
    const issuer = serviceIssuer(ref, destination, configuration, this.#issuers);
    return { found: { destination, ...(issuer && { issuer }) }, configuration };
  }

  /** While the service is down, what it said last is used ("Cache"); what it refuses is not: a 4xx is no outage. */
  #failed(key: string, ref: DestinationRef, last: Kept | undefined, failure: unknown): Found | undefined {
    if (!(failure instanceof Outage)) return this.#keep(key, { failure }, REFUSAL_MS);
    if (!last || !('found' in last.outcome)) throw failure;
    const { name, tenant } = ref;
    this.#log.warn(
      { destination: name, tenant, text: failure.message },
      'the Destination service is down; what it said last is used',
    );
    return this.#keep(key, last.outcome, OUTAGE_MS);
  }

  #keep(key: string, outcome: Kept['outcome'], ms: number): Found | undefined {
    this.#kept.delete(key);
    this.#kept.set(key, { outcome, until: Date.now() + ms });
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= KEPT_DESTINATIONS) break;
      this.#kept.delete(oldest);
    }
    return told({ outcome });
  }
}

function told({ outcome }: Pick<Kept, 'outcome'>): Found | undefined {
  if ('failure' in outcome) throw outcome.failure;
  return outcome.found;
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
