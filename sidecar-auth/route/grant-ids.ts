import { createHash } from 'node:crypto';
import type { AccessToken } from '../token/issuer.ts';

/** Tokens remembered: a rejection comes within the seconds that a login takes. A forgotten one is simply not dropped. */
const REMEMBERED = 10_000;

/** Ids by which the filter can say which token was refused, without sending it back. */
export class GrantIds {
  /** Id to token, the oldest first. */
  readonly #tokens = new Map<string, string>();

  idOf({ value }: AccessToken): string {
    const id = createHash('sha256').update(value).digest('base64url').slice(0, 32);
    this.#tokens.delete(id);
    this.#tokens.set(id, value);
    for (const [oldest] of this.#tokens) {
      if (this.#tokens.size <= REMEMBERED) break;
      this.#tokens.delete(oldest);
    }
    return id;
  }

  tokenOf(id: string): string | undefined {
    return this.#tokens.get(id);
  }
}
