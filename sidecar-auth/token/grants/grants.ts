import { createHash, createHmac, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../failure.ts';
import { LAST_SECONDS, LEASE_MS, LEASE_POLL_MS } from '../limits.ts';
import type { IssuedTokens } from '../request.ts';
import { type Envelope, readEnvelope } from './envelope.ts';
import { Lease } from './lease.ts';
import { seal, unseal } from './seal.ts';
import { type GrantStore, type StoreLog, told } from './store.ts';

/** Whose grant it is. */
export interface GrantOwner {
  /** The subscriber, where there is one. */
  tenant?: string;
  destination: string;
  /** Of a grant of `postern login`. */
  user: string;
  /** Token service and client: a grant of one is never sent to another, whatever a destination is changed to. */
  tokenServiceURL: string;
  clientId: string;
}

/** What must survive of issued tokens: the refresh token; where none came, the access token, for nothing newer can be had. */
export interface Kept {
  refreshToken?: string;
  access?: IssuedTokens;
}

/** One place in the store, and how its content is read and written. */
interface Place {
  name: string;
  encode: (text: string) => string;
  decode: (text: string) => string;
  /** As long as this is the refresh token in force there is nothing to keep. */
  presented?: string;
}

interface Entry {
  kept?: Kept;
  /** Date.now() until which one process alone may ask the token service. */
  lease?: number;
  /** Of `postern login`: which of its runs. */
  generation?: string;
  version?: string | undefined;
}

/** Refused access tokens that are remembered, as hashes. */
const REFUSED = 1_000;

/** What came of a refresh token or an authorization code: the refresh token that followed it. */
export class Grants {
  readonly #store: GrantStore;
  readonly #leaseMs: number;
  readonly #refused = new Set<string>();
  /** What could not be stored; it is the only one that is still good. */
  readonly #unstored = new Map<string, Entry>();
  /** The last one that waits for a place in the store. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #key: Promise<Buffer> | undefined;

  /** @param leaseMs for tests */
  constructor(store: GrantStore, { leaseMs = LEASE_MS, log }: { leaseMs?: number; log?: StoreLog } = {}) {
    this.#store = told(store, log);
    this.#leaseMs = leaseMs;
  }

  /**
   * The tokens for what an app presents. `issue` asks the token service, with what was kept of the last tokens, if anything; while it
   * runs, nobody else asks for the same grant. What must survive is stored before anyone gets it.
   */
  async presented(owner: GrantOwner, presented: string, issue: Issue): Promise<IssuedTokens> {
    const name = await this.#nameOf(owner, presented);
    return this.#inTurn(
      {
        name,
        encode: (text) => seal(text, presented, name),
        decode: (text) => unseal(text, presented, name),
        presented,
      },
      issue,
    );
  }

  /** The tokens of `postern login`. */
  async login(owner: GrantOwner, issue: Issue): Promise<IssuedTokens> {
    return this.#inTurn(plainPlace(owner), issue);
  }

  hasLogin(owner: GrantOwner): boolean {
    return this.#store.has(loginName(owner));
  }

  /** Stores what `postern login` got, in place of what it got before. */
  async storeLogin(owner: GrantOwner, tokens: IssuedTokens): Promise<void> {
    const kept = survivor(tokens);
    await this.#force(plainPlace(owner), { ...(kept && { kept }), generation: randomBytes(8).toString('hex') });
  }

  /** The mail server refused this access token. */
  refused(value: string): void {
    this.#refused.add(hash(value));
    for (const oldest of this.#refused) {
      if (this.#refused.size <= REFUSED) break;
      this.#refused.delete(oldest);
    }
  }

  /** One after another, or all who share a token would look into the store again and again. */
  async #inTurn(place: Place, issue: Issue): Promise<IssuedTokens> {
    const deadline = Date.now() + 2 * this.#leaseMs;
    const before = this.#turns.get(place.name) ?? Promise.resolve();
    const tokens = before.catch(() => {}).then(() => this.#tokens(place, issue, deadline));
    this.#turns.set(place.name, tokens);
    try {
      return await tokens;
    } finally {
      if (this.#turns.get(place.name) === tokens) this.#turns.delete(place.name);
    }
  }

  async #tokens(place: Place, issue: Issue, deadline: number): Promise<IssuedTokens> {
    while (Date.now() < deadline) {
      const entry = await this.#read(place);
      const { kept, lease = 0 } = entry;
      if (kept?.access && this.#isGood(kept.access)) return kept.access;
      if (lease > Date.now()) await sleep(LEASE_POLL_MS);
      else {
        const issued = await this.#renewed(place, entry, issue);
        if (issued) return issued;
      }
    }
    throw new Failure('token', 'another process is renewing this token, and does not end');
  }

  #isGood({ accessToken, expiresAt }: IssuedTokens): boolean {
    return Date.now() < expiresAt - LAST_SECONDS * 1000 && !this.#refused.has(hash(accessToken));
  }

  /** Undefined where another process came first. */
  async #renewed(place: Place, entry: Entry, issue: Issue): Promise<IssuedTokens | undefined> {
    const lease = await Lease.take(this.#leaseMs, entry.version, (until, version) =>
      this.#write(place, { ...entry, lease: until, version }),
    );
    if (!lease) return undefined;
    let issued: IssuedTokens;
    try {
      issued = await issue(entry.kept);
    } catch (error) {
      // As it was before.
      await this.#keep(place, entry, await lease.end()).catch(() => {});
      throw error;
    }
    const { kept: _, ...rest } = entry;
    const kept = survivor(issued, place.presented);
    return (await this.#keepNew(place, { ...rest, ...(kept && { kept }) }, await lease.end())) ? issued : undefined;
  }

  /**
   * What could not be stored is kept in memory: mail goes on, and the next use tries again.
   * @returns false where a newer `postern login` has taken the place
   */
  async #keepNew(place: Place, entry: Entry, version: string): Promise<boolean> {
    this.#unstored.set(place.name, { ...entry, version });
    const isSame = (generation: string | undefined) => generation === entry.generation;
    try {
      // Not written: the lease ran out and someone else took it, with the refresh token that was followed by this one.
      const isIn = (await this.#keep(place, entry, version)) || (await this.#force(place, entry, isSame));
      this.#unstored.delete(place.name);
      return isIn;
    } catch {
      return true;
    }
  }

  /** Nothing stays in the store where there is nothing to keep: so neither a token service nor an app can fill it. */
  async #keep(place: Place, { lease: _, ...entry }: Entry, version: string): Promise<boolean> {
    if (entry.kept) return (await this.#write(place, { ...entry, version })) !== undefined;
    await this.#store.remove(place.name, version);
    return true;
  }

  /** In place of whatever is there. @returns false where `may` forbids that, given its generation */
  async #force(
    place: Place,
    { lease: _, ...entry }: Entry,
    may: (generation: string | undefined) => boolean = () => true,
  ): Promise<boolean> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const stored = await this.#store.read(place.name);
      if (!may(readEnvelope(stored?.text)?.generation)) return false;
      if ((await this.#write(place, { ...entry, version: stored?.version })) !== undefined) return true;
    }
    throw new Failure('token', 'the store of grants is written by too many at once');
  }

  async #read({ name, decode }: Place): Promise<Entry> {
    const stored = await this.#store.read(name);
    const { content, lease = 0, generation } = readEnvelope(stored?.text) ?? {};
    const known = { ...(generation !== undefined && { generation }), lease, version: stored?.version };
    const unstored = this.#unstored.get(name);
    // Of what a newer `postern login` has replaced nothing is used.
    if (unstored && unstored.generation === generation) {
      // Nobody has written since: the lease is this process's own, and over.
      const isOwn = unstored.version === stored?.version;
      return { ...unstored, ...known, ...(isOwn && { lease: 0 }) };
    }
    this.#unstored.delete(name);
    const kept = content === undefined ? undefined : attempt(() => Object(JSON.parse(decode(content))) as Kept);
    return { ...(kept && { kept }), ...known };
  }

  #write({ name, encode }: Place, { kept, lease, generation, version }: Entry): Promise<string | undefined> {
    const envelope: Envelope = {
      used: Date.now(),
      ...(kept && { content: encode(JSON.stringify(kept)) }),
      ...(lease && { lease }),
      ...(generation !== undefined && { generation }),
    };
    return this.#store.write(name, JSON.stringify(envelope), version);
  }

  /** Without the user, for the token service does not hear of it: an app that names many users has one grant all the same. */
  async #nameOf(owner: GrantOwner, presented: string): Promise<string> {
    this.#key ??= this.#storeKey();
    const { tenant, destination, tokenServiceURL, clientId } = owner;
    const key = await this.#key.catch((error) => {
      this.#key = undefined;
      throw error;
    });
    return `grant-${createHmac('sha256', key)
      .update(JSON.stringify([tenant ?? null, destination, tokenServiceURL, clientId, presented]))
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

/** @param last what was kept of what it returned the last time */
export type Issue = (last: Kept | undefined) => Promise<IssuedTokens>;

function survivor({ refreshToken, ...access }: IssuedTokens, presented?: string): Kept | undefined {
  if (refreshToken === undefined) return { access };
  return refreshToken === presented ? undefined : { refreshToken };
}

function plainPlace(owner: GrantOwner): Place {
  return { name: loginName(owner), encode: (text) => text, decode: (text) => text };
}

function loginName({ tenant, destination, user, tokenServiceURL, clientId }: GrantOwner): string {
  return `login-${hash(JSON.stringify([tenant ?? null, destination, user, tokenServiceURL, clientId]))}`;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What can't be read is as if it were not there. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
