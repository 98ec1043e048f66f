import { Failure } from '../failure.ts';
import type { TokenSource } from '../relay-target.ts';
import { bindingStamp, readBinding } from './binding.ts';
import { readSmall, stamp } from './files.ts';
import { TOKEN_LIMIT, TOKEN_MARGIN_S, TOKEN_REFUSED_AGE_MS } from './limits.ts';
import { requestToken } from './token-request.ts';

interface Kept {
  /** Of the file or the binding that the token comes from. */
  stamp: string;
  token: string;
  /** Date.now() from which on it is not used. */
  until: number;
  since: number;
}

/** Tokens for the Connectivity Proxy, kept per source as long as they are good. One entry per configured source. */
export class Tokens {
  readonly #kept = new Map<string, Kept>();
  readonly #pending = new Map<string, Promise<Kept>>();

  /** The token to send, or undefined where none is configured. Rejects with a Failure of code `token`. */
  async get(source: TokenSource): Promise<string | undefined> {
    if (source.kind === 'none') return undefined;
    const key = keyOf(source);
    const now = source.kind === 'file' ? await stamp(source.file) : await bindingStamp(source.path);
    const kept = this.#kept.get(key);
    if (kept?.stamp === now && Date.now() < kept.until) return kept.token;
    return (await this.#shared(key, now, source)).token;
  }

  /** The proxy refused this source's token: ask for a new one next time, unless the refused one is new itself. */
  refused(source: TokenSource): void {
    const kept = this.#kept.get(keyOf(source));
    if (kept && Date.now() - kept.since > TOKEN_REFUSED_AGE_MS) this.#kept.delete(keyOf(source));
  }

  /** Many connections that arrive together share one request; a changed source does not wait for the old one's. */
  #shared(key: string, now: string, source: TokenSource): Promise<Kept> {
    const flight = `${key} ${now}`;
    const running = this.#pending.get(flight);
    if (running) return running;
    const started = this.#fetch(key, now, source).finally(() => this.#pending.delete(flight));
    this.#pending.set(flight, started);
    return started;
  }

  async #fetch(key: string, now: string, source: TokenSource): Promise<Kept> {
    const { token, lifetime } = await issue(source);
    if (!/^[\x21-\x7e]+$/.test(token)) throw unusable('is not printable ASCII without spaces');
    if (token.length > TOKEN_LIMIT) throw unusable(`is longer than ${TOKEN_LIMIT} octets`);
    const since = Date.now();
    const kept = { stamp: now, token, since, until: since + (lifetime - TOKEN_MARGIN_S) * 1000 };
    this.#kept.set(key, kept);
    return kept;
  }
}

async function issue(source: TokenSource): Promise<{ token: string; lifetime: number }> {
  if (source.kind === 'binding') return await requestToken(await readBinding(source.path));
  if (source.kind === 'none') return { token: '', lifetime: 0 };
  const text = await readSmall(source.file, TOKEN_LIMIT + 2);
  return { token: text.replace(/\r?\n$/, ''), lifetime: Number.POSITIVE_INFINITY };
}

function keyOf(source: TokenSource): string {
  if (source.kind === 'none') return 'none';
  return source.kind === 'file' ? `file ${source.file}` : `binding ${source.path}`;
}

function unusable(what: string): Failure {
  return new Failure('token', `the token ${what}`, { retry: false });
}
