import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Config } from '../config/config.ts';
import { type ServiceInstance, serviceOnly } from '../config/service.ts';
import type { Destination } from '../destination/destination.ts';
import { OUTAGE_MS } from '../destination-service/limits.ts';
import { DestinationService } from '../destination-service/service.ts';
import { type FetchWith, fetchesOf, Outage } from '../http.ts';
import { standIns } from '../observe/counted.ts';
import { TokenCache } from '../token/cache.ts';
import { fileIssuer } from '../token/file-issuer.ts';
import type { Grants } from '../token/grants/grants.ts';
import { openGrants } from '../token/grants/open.ts';
import type { TokenIssuer } from '../token/issuer.ts';
import type { Served } from './session.ts';
import type { Route } from './table.ts';

/** Where destinations and their tokens come from: the Destination service first, then the files' own flows. */
export class Sources {
  readonly #ca: string;
  readonly #fetchWith: FetchWith;
  readonly #fetch: typeof fetch;
  readonly #grants: Grants;
  readonly #log: Logger;
  readonly #cache = new TokenCache();
  readonly #service: DestinationService;
  #instances: ServiceInstance[] = [];
  /** Destinations for which files stand in. */
  readonly #fromFiles = new Set<string>();

  /** `ca`: PEM text of all CAs that are trusted. `grants` stay where they were at the start. */
  static async open(config: Config, ca: string, log: Logger): Promise<Sources> {
    const sources = new Sources(ca, await openGrants(config.grants, { log }), log);
    sources.use(config);
    return sources;
  }

  private constructor(ca: string, grants: Grants, log: Logger) {
    this.#ca = ca;
    this.#fetchWith = fetchesOf({ ca });
    this.#fetch = this.#fetchWith();
    this.#grants = grants;
    this.#log = log;
    this.#service = new DestinationService({ instances: [], fetchWith: this.#fetchWith, grants, log });
  }

  /** The configuration in force: a changed list of instances is taken over. */
  use({ services }: Config): void {
    if (isDeepStrictEqual(services, this.#instances)) return;
    this.#instances = services;
    this.#service.use(services);
  }

  /**
   * No destination where the Destination service knows none, or is not configured; also where it has never
   * answered and a file has a destination of this name, unless the listener says what only the service can know.
   */
  async served({ listener, destination }: Route): Promise<Served> {
    if (this.#instances.length === 0 || listener.source === 'file') return {};
    const { destination: name, service } = listener;
    const hasFile = destination !== undefined && serviceOnly(service).length === 0;
    try {
      const found = await this.#service.find({ name, ...service }, hasFile);
      this.#fromFiles.delete(name);
      standIns.clear(standIn(name));
      return found ?? {};
    } catch (error) {
      if (!hasFile || !(error instanceof Outage)) throw error;
      this.#report(name, error);
      // The service wins as soon as it answers.
      return { until: Date.now() + OUTAGE_MS };
    }
  }

  /** The mail server refused this access token: no source hands it out again. */
  refused(value: string): void {
    this.#cache.refused(value);
    this.#service.refused(value); // and with it the grants, which all share
  }

  /** Once for each outage. */
  #report(name: string, { message }: Outage): void {
    if (this.#fromFiles.has(name)) return;
    this.#fromFiles.add(name);
    standIns.set(standIn(name), 1);
    this.#log.warn(
      { destination: name, text: message },
      'the Destination service is down; the file of this name is used',
    );
  }

  issuer({ listener }: Route, destination: Destination): TokenIssuer {
    const { tenant, tokenServiceTenant, redirectUri, codeVerifier } = listener.service ?? {};
    return fileIssuer(destination, {
      cache: this.#cache,
      grants: this.#grants,
      ca: this.#ca,
      fetch: this.#fetch,
      ...(tenant !== undefined && { tenant }),
      ...(tokenServiceTenant !== undefined && { tokenServiceTenant }),
      ...(redirectUri !== undefined && { redirectUri }),
      ...(codeVerifier !== undefined && { codeVerifier }),
    });
  }
}

function standIn(destination: string): { destination: string; by: string } {
  return { destination, by: 'file' };
}
