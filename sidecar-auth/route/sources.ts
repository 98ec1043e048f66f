import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Config } from '../config/config.ts';
import type { ServiceInstance } from '../config/service.ts';
import type { Destination } from '../destination/destination.ts';
import { DestinationService } from '../destination-service/service.ts';
import { type FetchWith, fetchesOf } from '../http.ts';
import { TokenCache } from '../token/cache.ts';
import { fileIssuer } from '../token/file-issuer.ts';
import type { Grants } from '../token/grants/grants.ts';
import { openGrants } from '../token/grants/open.ts';
import type { TokenIssuer } from '../token/issuer.ts';
import type { Found } from './session.ts';
import type { Route } from './table.ts';

/** Where destinations and their tokens come from: the Destination service first, then the files' own flows. */
export class Sources {
  readonly #ca: string;
  readonly #fetchWith: FetchWith;
  readonly #fetch: typeof fetch;
  readonly #grants: Grants;
  readonly #log: Logger;
  readonly #cache = new TokenCache();
  #instances: ServiceInstance[] = [];
  #service: DestinationService | undefined;

  /** `ca`: PEM text of all CAs that are trusted. `grants` stay where they were at the start. */
  static async open(config: Config, ca: string, log: Logger): Promise<Sources> {
    const sources = new Sources(ca, await openGrants(config.grants), log);
    sources.use(config);
    return sources;
  }

  private constructor(ca: string, grants: Grants, log: Logger) {
    this.#ca = ca;
    this.#fetchWith = fetchesOf({ ca });
    this.#fetch = this.#fetchWith();
    this.#grants = grants;
    this.#log = log;
  }

  /** The configuration in force: a changed list of instances is taken over. */
  use({ services }: Config): void {
    if (isDeepStrictEqual(services, this.#instances)) return;
    this.#instances = services;
    const options = { instances: services, fetchWith: this.#fetchWith, grants: this.#grants, log: this.#log };
    this.#service = services.length > 0 ? new DestinationService(options) : undefined;
  }

  /** Undefined where the Destination service knows no such destination, or is not configured. */
  async served({ listener }: Route): Promise<Found | undefined> {
    return await this.#service?.find({ name: listener.destination, ...listener.service });
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
