import { createHash, createHmac, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../failure.ts';
import { LAST_SECONDS, LEASE_MS, LEASE_POLL_MS, renewAt } from '../limits.ts';
import type { IssuedTokens } from '../request.ts';
import { Lease } from './lease.ts';
import { seal, unseal } from './seal.ts';
import { type GrantStore, told } from './store.ts';

/** Whose grant it is. */
export interface GrantOwner {
  /** The subscriber, where there is one. */
  tenant?: string;
  destination: string;
  user: string;
  /** Token service and client: a grant of one is never sent to another, whatever a destination is changed to. */
  tokenServiceURL: string;
  clientId: string;
}

export interface GrantTokens extends IssuedTokens {
  /** Milliseconds since 1970. */
  issuedAt: number;
}

/** One place in the store, and how its content is read and written. */
interface Place {
  name: string;
  encode: (text: string) => string;
  decode: (text: string) => string;
}

interface Entry {
  tokens?: GrantTokens;
  /** Date.now() until which one process alone may ask the token service. */
  lease?: number;
  version?: string | undefined;
}

/** As it stands in the store: only `content` is secret. */
interface Envelope {
  content?: string;
  lease?: number;
  used: number;
}

/** Refused access tokens that are remembered, as hashes. */
const REFUSED = 1_000;

/** What came of a refresh token or an authorization code: the access token, and the refresh token that followed it. */
export class Grants {
  readonly #store: GrantStore;
  readonly #leaseMs: number;
  readonly #refused = new Set<string>();
  /** Tokens that could not be stored; they are the only ones that are still good. */
  readonly #unstored = new Map<string, GrantTokens>();
  #key: Promise<Buffer> | undefined;

  /** @param leaseMs for tests */
  constructor(store: GrantStore, leaseMs = LEASE_MS) {
    this.#store = told(store);
    this.#leaseMs = leaseMs;
  }

  /**
   * The tokens for what an app presents. `issue` asks the token service, with the tokens that came last, if any; while it runs, no
   * other process asks for the same grant. What it returns is stored before anyone gets it.
   */
  async presented(owner: GrantOwner, presented: string, issue: Issue): Promise<GrantTokens> {
    const name = await this.#nameOf(owner, presented);
    return this.#tokens(
      {
        name,
        encode: (text) => seal(text, presented, name),
        decode: (text) => unseal(text, presented, name),
      },
      issue,
    );
  }

  /** The tokens of `postern login`. */
  async login(owner: GrantOwner, issue: Issue): Promise<GrantTokens> {
    return this.#tokens(plainPlace(owner), issue);
  }

  hasLogin(owner: GrantOwner): boolean {
    return this.#store.has(loginName(owner));
  }

  /** Stores what `postern login` got, in place of what it got before. */
  async storeLogin(owner: GrantOwner, tokens: IssuedTokens): Promise<void> {
    await this.#force(plainPlace(owner), { ...tokens, issuedAt: Date.now() });
  }

  /** The mail server refused this access token. */
  refused(value: string): void {
    this.#refused.add(hash(value));
    for (const oldest of this.#refused) {
      if (this.#refused.size <= REFUSED) break;
      this.#refused.delete(oldest);
    }
  }

  /** Whether an access token may still be handed out. */
  isGood(tokens: GrantTokens): boolean {
    return Date.now() < tokens.expiresAt - LAST_SECONDS * 1000 && !this.#refused.has(hash(tokens.accessToken));
  }

  async #tokens(place: Place, issue: Issue): Promise<GrantTokens> {
    const deadline = Date.now() + 2 * this.#leaseMs;
    while (Date.now() < deadline) {
      const entry = await this.#read(place);
      const { tokens, lease = 0 } = entry;
      const good = tokens && this.isGood(tokens) ? tokens : undefined;
      if (good && (lease > Date.now() || Date.now() < renewAt(good.issuedAt, good.expiresAt))) return good;
      if (lease > Date.now()) await sleep(LEASE_POLL_MS);
      else {
        const renewed = await this.#renewed(place, entry, issue);
        if (renewed) return renewed;
      }
    }
    throw new Failure('token', 'another process is renewing this token, and does not end');
  }

  /** Undefined where another process came first. While what there is is still good, a fault that may pass is nobody's business. */
  async #renewed(place: Place, entry: Entry, issue: Issue): Promise<GrantTokens | undefined> {
    const { tokens } = entry;
    try {
      const lease = await Lease.take(this.#leaseMs, entry.version, (until, version) =>
        this.#write(place, { ...entry, lease: until, version }),
      );
      return lease && (await this.#issue(place, entry, lease, issue));
    } catch (error) {
      if (tokens && this.isGood(tokens) && error instanceof Failure && error.retry) return tokens;
      throw error;
    }
  }

  async #issue(place: Place, { tokens: last }: Entry, lease: Lease, issue: Issue): Promise<GrantTokens> {
    let issued: GrantTokens;
    try {
      const tokens = await issue(last);
      issued = { ...tokens, issuedAt: tokens === last ? last.issuedAt : Date.now() };
    } catch (error) {
      const version = await lease.end();
      await this.#release(place, { ...(last && { tokens: last }), version }).catch(() => {});
      throw error;
    }
    await this.#keep(place, await lease.end(), issued);
    return issued;
  }

  /** Nothing came of it: as it was before, so that a token service can't be made to fill the store. */
  async #release(place: Place, { tokens, version }: Entry & { version: string }): Promise<void> {
    if (tokens) await this.#write(place, { tokens, version });
    else await this.#store.remove(place.name, version);
  }

  async #keep(place: Place, version: string, issued: GrantTokens): Promise<void> {
    this.#unstored.set(place.name, issued);
    try {
      const written = await this.#write(place, { tokens: issued, version });
      // The lease ran out and someone else took it, with the refresh token that was followed by this one.
      if (written === undefined) await this.#force(place, issued);
      this.#unstored.delete(place.name);
    } catch {
      // The store can't be written. Mail goes on with what is in memory, and the next use tries again.
    }
  }

  async #force(place: Place, tokens: GrantTokens): Promise<void> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const stored = await this.#store.read(place.name);
      const version = stored && { version: stored.version };
      if ((await this.#write(place, { tokens, ...version })) !== undefined) return;
    }
    throw new Failure('token', 'the store of grants is written by too many at once');
  }

  async #read({ name, decode }: Place): Promise<Entry> {
    const stored = await this.#store.read(name);
    const unstored = this.#unstored.get(name);
    if (!stored) return unstored ? { tokens: unstored } : {};
    const { version } = stored;
    const envelope = parse<Envelope>(stored.text);
    const lease = envelope?.lease ?? 0;
    if (unstored) return { tokens: unstored, lease, version };
    const content = envelope?.content === undefined ? undefined : attempt(() => decode(envelope.content ?? ''));
    const tokens = content === undefined ? undefined : parse<GrantTokens>(content);
    return { ...(tokens && { tokens }), lease, version };
  }

  #write({ name, encode }: Place, { tokens, lease, version }: Entry): Promise<string | undefined> {
    const envelope: Envelope = {
      used: Date.now(),
      ...(tokens && { content: encode(JSON.stringify(tokens)) }),
      ...(lease && { lease }),
    };
    return this.#store.write(name, JSON.stringify(envelope), version);
  }

  async #nameOf(owner: GrantOwner, presented: string): Promise<string> {
    this.#key ??= this.#storeKey();
    const key = await this.#key.catch((error) => {
      this.#key = undefined;
      throw error;
    });
    return `grant-${createHmac('sha256', key)
      .update(JSON.stringify([...identity(owner), presented]))
      .digest('hex')}`;
  }

  /** Of the first process that came: without it nobody can tell from a name what was presented. */
  async #storeKey(): Promise<Buffer> {
    const fresh = randomBytes(32).toString('base64');
    for (let attempt = 0; attempt < 10; attempt++) {
      const stored = await this.#store.read('key');
      if (stored) return Buffer.from(stored.text, 'base64');
      await this.#store.write('key', fresh, undefined);
    }
    throw new Failure('token', 'the store of grants has no key');
  }
}

/** @param last what it returned the last time; may be returned again where nothing newer can be had */
export type Issue = (last: GrantTokens | undefined) => Promise<IssuedTokens>;

function plainPlace(owner: GrantOwner): Place {
  return { name: loginName(owner), encode: (text) => text, decode: (text) => text };
}

function loginName(owner: GrantOwner): string {
  return `login-${hash(JSON.stringify(identity(owner)))}`;
}

function identity({ tenant, destination, user, tokenServiceURL, clientId }: GrantOwner): unknown[] {
  return [tenant ?? null, destination, user, tokenServiceURL, clientId];
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function parse<T>(text: string): T | undefined {
  return attempt(() => Object(JSON.parse(text)) as T);
}

/** What can't be read is as if it were not there. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
