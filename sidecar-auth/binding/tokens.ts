import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '../failure.ts';
import { type FetchWith, type Retries, retrying } from '../http.ts';
import { tokenRequest } from '../observe/counted.ts';
import { TokenCache } from '../token/cache.ts';
import type { AccessToken } from '../token/issuer.ts';
import { type Binding, toBinding } from './binding.ts';
import { placeOf } from './place.ts';
import { requestToken } from './token-request.ts';

/** A binding as it stands now. */
export interface Revision {
  /** Of its files: changes when they are touched. */
  stamp: string;
  /** Changes when the binding does. */
  id: string;
  binding: Binding;
  /** Shows the binding's certificate where it has one, and asks again after faults. */
  fetch: typeof fetch;
}

export interface BindingDeps {
  fetchWith: FetchWith;
  retries?: Retries;
  log?: { warn(details: object, text: string): void };
}

/** Bindings, and the tokens of the services that they are for, kept per binding and tenant. */
export class BindingTokens {
  readonly #deps: BindingDeps;
  readonly #revisions = new Map<string, Revision>();
  /** Mistakes that were logged. */
  readonly #reported = new Map<string, string>();
  readonly #tokens = new TokenCache();

  constructor(deps: BindingDeps) {
    this.#deps = deps;
  }

  /**
   * The binding at a path or of a name (see placeOf). It is looked at each time, which costs a `stat` per file, and
   * parsed only after it changed: so a rotated one is taken over. While it can't be read (half written, or away for a
   * moment), the last one that could be is used. Throws a Failure of code `token`.
   */
  async revision(where: string): Promise<Revision> {
    const known = this.#revisions.get(where);
    try {
      const { stamp, read } = await placeOf(where);
      if (known?.stamp === stamp) return known;
      return this.#keep(where, stamp, toBinding(await read()), known);
    } catch (error) {
      if (!known || !(error instanceof Failure)) throw error;
      this.#report(where, error.message);
      return known;
    }
  }

  /** A file that was only touched is the same binding, with its connections and tokens. */
  #keep(where: string, stamp: string, binding: Binding, known: Revision | undefined): Revision {
    const revision =
      known && isDeepStrictEqual(known.binding, binding) ? { ...known, stamp } : this.#new(stamp, binding);
    this.#revisions.set(where, revision);
    this.#reported.delete(where);
    return revision;
  }

  #new(stamp: string, binding: Binding): Revision {
    const fetch = retrying(this.#deps.fetchWith(binding.certificate), this.#deps.retries);
    const id = createHash('sha256').update(JSON.stringify(binding)).digest('hex');
    return { stamp, id, binding, fetch };
  }

  #report(where: string, text: string): void {
    if (this.#reported.get(where) === text) return;
    this.#reported.set(where, text);
    this.#deps.log?.warn({ binding: where, text }, 'a service binding cannot be read; what it said last is used');
  }

  /** The token of the provider, or of a subscriber by its subdomain. Throws a Failure of code `token`. */
  async get(where: string, tenant?: string): Promise<AccessToken> {
    const { id, binding, fetch } = await this.revision(where);
    const key = JSON.stringify([where, id, tenant ?? null]);
    return await this.#tokens.get(key, () => tokenRequest('binding', '', () => requestToken(binding, tenant, fetch)));
  }

  /** The service refused this token: the next one is new, unless it has just replaced another. */
  refused(value: string): void {
    this.#tokens.refused(value);
  }
}
