import { readSmall, stamp } from '../binding/files.ts';
import { TOKEN_LIMIT } from '../binding/limits.ts';
import { checkedToken } from '../binding/token-request.ts';
import { BindingTokens } from '../binding/tokens.ts';
import { type FetchWith, fetchesOf } from '../http.ts';
import type { TokenSource } from '../relay-target.ts';

/** Tokens for the Connectivity Proxy, kept per source as long as they are good. */
export class Tokens {
  readonly #bindings: BindingTokens;
  readonly #files = new Map<string, { stamp: string; token: string }>();

  constructor(fetchWith: FetchWith = fetchesOf(), log?: { warn(details: object, text: string): void }) {
    this.#bindings = new BindingTokens({ fetchWith, ...(log && { log }) });
  }

  /** The token to send, or undefined where none is configured. Rejects with a Failure of code `token`. */
  async get(source: TokenSource): Promise<string | undefined> {
    if (source.kind === 'none') return undefined;
    if (source.kind === 'file') return await this.#read(source.file);
    return (await this.#bindings.get(source.path, source.tenant)).value;
  }

  /** The proxy refused this token: ask for a new one next time, unless it has just replaced another. */
  refused(source: TokenSource, token: string | undefined): void {
    if (source.kind === 'binding' && token !== undefined) this.#bindings.refused(token);
    if (source.kind === 'file') this.#files.delete(source.file);
  }

  /** A file that others keep fresh. */
  async #read(file: string): Promise<string> {
    const now = stamp(file);
    const kept = this.#files.get(file);
    if (kept?.stamp === now) return kept.token;
    const text = await readSmall(file, TOKEN_LIMIT + 2);
    const token = checkedToken(text.replace(/\r?\n$/, ''));
    this.#files.set(file, { stamp: now, token });
    return token;
  }
}
