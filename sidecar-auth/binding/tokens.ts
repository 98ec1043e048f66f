import { type FetchWith, type Retries, retrying } from '../http.ts';
import { TokenCache } from '../token/cache.ts';
import type { AccessToken } from '../token/issuer.ts';
import { type Binding, toBinding } from './binding.ts';
import { placeOf } from './place.ts';
import { requestToken } from './token-request.ts';

/** A binding as it stands now. */
export interface Revision {
  /** Changes when the binding does. */
  stamp: string;
  binding: Binding;
  /** Shows the binding's certificate where it has one, and asks again after faults. */
  fetch: typeof fetch;
}

export interface BindingDeps {
  fetchWith: FetchWith;
  retries?: Retries;
}

/** Bindings, and the tokens of the services that they are for, kept per binding and tenant. */
export class BindingTokens {
  readonly #deps: BindingDeps;
  readonly #revisions = new Map<string, Revision>();
  readonly #tokens = new TokenCache();

  constructor(deps: BindingDeps) {
    this.#deps = deps;
  }

  /**
   * The binding at a path or of a name (see placeOf). It is looked at each time, which costs a `stat` per file, and
   * parsed only after it changed: so a rotated one is taken over. Throws a Failure of code `token`.
   */
  async revision(where: string): Promise<Revision> {
    const { stamp, read } = await placeOf(where);
    const known = this.#revisions.get(where);
    if (known?.stamp === stamp) return known;
    const binding = toBinding(await read());
    const fetch = retrying(this.#deps.fetchWith(binding.certificate), this.#deps.retries);
    const revision = { stamp, binding, fetch };
    this.#revisions.set(where, revision);
    return revision;
  }

  /** The token of the provider, or of a subscriber by its subdomain. Throws a Failure of code `token`. */
  async get(where: string, tenant?: string): Promise<AccessToken> {
    const { stamp, binding, fetch } = await this.revision(where);
    const key = JSON.stringify([where, stamp, tenant ?? null]);
    return await this.#tokens.get(key, () => requestToken(binding, tenant, fetch));
  }

  /** The service refused this token: the next one is new, unless it has just replaced another. */
  refused(value: string): void {
    this.#tokens.refused(value);
  }
}
