import { type LookupAddress, lookup } from 'node:dns';
import { isIP } from 'node:net';
import { Failure } from '../failure.ts';

/** Milliseconds for a name: what a resolver with one dead name server needs before it asks the next (resolv.conf(5), timeout). */
const TIME_LIMIT_MS = 5000;
/** Seconds for which an answer may be kept. getaddrinfo(3) tells no TTL: 30 s is half of the 60 s that load balancers publish. */
const KEEP_NAME = 30;
/** The contract's longest time: a literal does not change, its destination's changes are pushed. */
const KEEP_LITERAL = 120;

export interface Resolved {
  /** IP literals: the first of each family, the preferred family first. */
  addresses: string[];
  /** Seconds. */
  keep: number;
}

export type Resolve = (host: string) => Promise<Resolved>;
type Lookup = (host: string) => Promise<LookupAddress[]>;

/** A resolver that asks once for everyone who waits for the same name, and keeps nothing: the filter does. */
export function createResolve(ask: Lookup = askSystem, timeLimitMs = TIME_LIMIT_MS): Resolve {
  const asked = new Map<string, Promise<LookupAddress[]>>();
  const shared = (host: string) => {
    const running = asked.get(host);
    if (running) return running;
    // Forgotten when getaddrinfo ends, not at the time limit: it can't be cancelled and holds one of libuv's few threads.
    const started = ask(host).finally(() => asked.delete(host));
    asked.set(host, started);
    return started;
  };
  return async (host) => {
    if (isIP(host)) return { addresses: [host], keep: KEEP_LITERAL };
    const found = await withTimeLimit(shared(host), host, timeLimitMs);
    return { addresses: firstOfEachFamily(found), keep: KEEP_NAME };
  };
}

function askSystem(host: string): Promise<LookupAddress[]> {
  return new Promise((done, fail) => {
    lookup(host, { all: true, order: 'verbatim' }, (error, addresses) => (error ? fail(error) : done(addresses)));
  });
}

async function withTimeLimit<T>(work: Promise<T>, host: string, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Failure('resolve', `${host}: no answer within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, limit]);
  } catch (error) {
    throw error instanceof Failure ? error : new Failure('resolve', `${host}: ${reason(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

const REASONS: Record<string, string> = {
  ENOTFOUND: 'the name is unknown',
  EAI_AGAIN: 'the name server gave no answer',
  EAI_FAIL: 'the name server failed',
};

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
  return `${REASONS[code] ?? 'the name could not be resolved'} (${code})`;
}

function firstOfEachFamily(found: LookupAddress[]): string[] {
  const addresses = new Map<number, string>();
  for (const { family, address } of found) if (!addresses.has(family)) addresses.set(family, address);
  return [...addresses.values()].slice(0, 2);
}
