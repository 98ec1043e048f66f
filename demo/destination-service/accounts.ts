import { refuse } from './refusal.ts';

/** A destination or fragment in the service's own property names. */
export type Properties = Record<string, string>;

/** What lies on one level. */
export interface Resources {
  /** By `Name`. */
  destinations?: Properties[];
  /** By `FragmentName`. */
  fragments?: Properties[];
}

/** A subaccount, with what its service instance (for a subscriber: its subscription) holds. */
export interface Account {
  subaccount?: Resources;
  instance?: Resources;
}

export type Level = 'subaccount' | 'instance' | 'provider_subaccount' | 'provider_instance';

const LEVELS: readonly string[] = ['subaccount', 'instance', 'provider_subaccount', 'provider_instance'];

/** What a token's tenant sees. */
export class View {
  readonly #own: Account;
  readonly #provider: Account | undefined;

  /** @param provider for a subscriber's token only */
  constructor(own: Account, provider: Account | undefined) {
    this.#own = own;
    this.#provider = provider;
  }

  get isSubscriber(): boolean {
    return this.#provider !== undefined;
  }

  /** @throws Refusal 400 for what is no level of this tenant */
  level(text: string): Level {
    if (!LEVELS.includes(text)) throw refuse(400, `Level must be one of ${LEVELS.join(', ')}`);
    if (text.startsWith('provider_') && !this.#provider) throw refuse(400, `Level ${text} is for subscribers only`);
    return text as Level;
  }

  at(level: Level): Resources {
    const account = level.startsWith('provider_') ? this.#provider : this.#own;
    return account?.[level.endsWith('instance') ? 'instance' : 'subaccount'] ?? {};
  }
}
