import { setTimeout as sleep } from 'node:timers/promises';
import { isConflict, isNotFound } from './api.ts';

/** coordination.k8s.io/v1, as far as it is used here. */
export interface Lease {
  apiVersion: 'coordination.k8s.io/v1';
  kind: 'Lease';
  metadata: { name: string; namespace: string; resourceVersion?: string };
  spec: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

/** The API server, or a test's. They throw an ApiError: 404 where there is none, 409 where another write came first. */
export interface LeaseStore {
  get(): Promise<Lease>;
  create(lease: Lease): Promise<Lease>;
  replace(lease: Lease): Promise<Lease>;
}

export interface LeaseTimes {
  /** Without news of the holder for so long, another may take it. */
  durationMs: number;
  /** Without a renewal for so long, the holder must stop: before others begin. */
  deadlineMs: number;
  retryMs: number;
}

/** Those of Kubernetes' own controllers. */
export const LEASE_TIMES: LeaseTimes = { durationMs: 15_000, deadlineMs: 10_000, retryMs: 2_000 };

export interface CandidateOptions {
  store: LeaseStore;
  place: { name: string; namespace: string };
  /** Different for each process. */
  identity: string;
  times?: LeaseTimes;
  onError?: (error: unknown) => void;
  /** After each answer of the API server. */
  onContact?: () => void;
}

/**
 * Leader election: each write carries the Lease's resourceVersion, so that of two who take it at once one gets a 409. Clocks of other machines are never compared with
 * ours: what counts is how long a Lease has not changed while we looked at it.
 */
export class Candidate {
  readonly #options: CandidateOptions;
  readonly #times: LeaseTimes;
  /** The Lease as it was last seen, and since when (performance.now()). */
  #seen = '';
  #seenAt = 0;

  constructor(options: CandidateOptions) {
    this.#options = options;
    this.#times = options.times ?? LEASE_TIMES;
  }

  /** Resolves as the leader, or rejects where the signal ends it. */
  async acquire(signal: AbortSignal): Promise<void> {
    while (!(await this.#attempt()))
      await sleep(this.#times.retryMs * (0.8 + 0.4 * Math.random()), undefined, { signal });
    signal.throwIfAborted();
  }

  /** Renews it for as long as that works. Resolves when we lead no more. */
  async hold(signal: AbortSignal): Promise<void> {
    let until = performance.now() + this.#times.deadlineMs;
    while (performance.now() < until && !signal.aborted) {
      await sleep(this.#times.retryMs, undefined, { signal }).catch(() => {});
      const asked = performance.now();
      const isOurs = await this.#inTime(until);
      if (isOurs === true) until = asked + this.#times.deadlineMs;
      if (isOurs === false) return;
    }
  }

  /** So that another need not wait. */
  async release(): Promise<void> {
    const lease = await this.#options.store.get();
    if (lease.spec.holderIdentity !== this.#options.identity) return;
    await this.#options.store.replace({
      ...lease,
      spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 },
    });
  }

  /** Undefined: not known. A request that hangs must not make us lead for longer. */
  async #inTime(until: number): Promise<boolean | undefined> {
    const late = new AbortController();
    const left = Math.max(0, until - performance.now());
    const answer = await Promise.race([
      this.#write().catch((error) => this.#report(error)),
      sleep(left, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
    return answer;
  }

  async #attempt(): Promise<boolean> {
    return (await this.#write().catch((error) => this.#report(error))) ?? false;
  }

  #report(error: unknown): undefined {
    this.#options.onError?.(error);
  }

  /** Whether it is ours now; undefined where another write came first, whosever. */
  async #write(): Promise<boolean | undefined> {
    const { store, place, identity } = this.#options;
    try {
      const lease = await store.get().catch((error) => {
        if (!isNotFound(error)) throw error;
      });
      this.#options.onContact?.();
      if (!lease) {
        await store.create({
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: place,
          spec: this.#spec(),
        });
        return true;
      }
      if (lease.spec.holderIdentity !== identity && !this.#isFree(lease)) return false;
      await store.replace({ ...lease, spec: this.#spec(lease) });
      return true;
    } catch (error) {
      if (isConflict(error)) return undefined;
      throw error;
    }
  }

  #isFree({ spec, metadata }: Lease): boolean {
    if (!spec.holderIdentity) return true;
    const now = performance.now();
    if (metadata.resourceVersion !== this.#seen) {
      this.#seen = metadata.resourceVersion ?? '';
      this.#seenAt = now;
    }
    return now - this.#seenAt > Math.max(this.#times.durationMs, (spec.leaseDurationSeconds ?? 0) * 1000);
  }

  #spec(last?: Lease): Lease['spec'] {
    const { identity } = this.#options;
    const isOurs = last?.spec.holderIdentity === identity;
    const now = microTime();
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.#times.durationMs / 1000),
      acquireTime: (isOurs && last?.spec.acquireTime) || now,
      renewTime: now,
      leaseTransitions: (last?.spec.leaseTransitions ?? 0) + (last && !isOurs ? 1 : 0),
    };
  }
}

/** Kubernetes' MicroTime demands six digits. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
