import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ApiError } from '../../../sidecar-auth/kubernetes/operator/api.ts';
import { Candidate, type Lease, type LeaseStore } from '../../../sidecar-auth/kubernetes/operator/lease.ts';

const TIMES = { durationMs: 200, deadlineMs: 120, retryMs: 20 };

/** Compare and swap on resourceVersion, as the API server does. */
class Store implements LeaseStore {
  lease: Lease | undefined;
  isDown = false;
  #version = 0;

  async get(): Promise<Lease> {
    this.#answer();
    if (!this.lease) throw new ApiError(404, 'not found');
    return structuredClone(this.lease);
  }

  async create(lease: Lease): Promise<Lease> {
    this.#answer();
    if (this.lease) throw new ApiError(409, 'already exists');
    return this.#write(lease);
  }

  async replace(lease: Lease): Promise<Lease> {
    this.#answer();
    if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion) throw new ApiError(409, 'conflict');
    return this.#write(lease);
  }

  #answer(): void {
    if (this.isDown) throw new Error('ECONNREFUSED');
  }

  #write(lease: Lease): Lease {
    this.lease = structuredClone({
      ...lease,
      metadata: { ...lease.metadata, resourceVersion: String(++this.#version) },
    });
    // leaseDurationSeconds is whole seconds: tests have less time.
    this.lease.spec.leaseDurationSeconds = 0;
    return this.lease;
  }
}

const candidate = (store: Store, identity: string) =>
  new Candidate({ store, identity, times: TIMES, place: { name: 'operator', namespace: 'postern' } });

test('one of many who stand at once gets it', async () => {
  const store = new Store();
  const end = new AbortController();
  const leaders: string[] = [];
  const all = ['a', 'b', 'c', 'd'].map((name) =>
    candidate(store, name)
      .acquire(end.signal)
      .then(() => leaders.push(name))
      .catch(() => {}),
  );
  await sleep(100);
  expect(leaders).toEqual([store.lease?.spec.holderIdentity]);
  end.abort();
  await Promise.all(all);
});

test('who renews keeps it; who is silent loses it to another', async () => {
  const store = new Store();
  const end = new AbortController();
  const first = candidate(store, 'first');
  await first.acquire(end.signal);
  const term = new AbortController();
  const held = first.hold(term.signal);
  const second = candidate(store, 'second').acquire(end.signal);
  await sleep(400);
  expect(store.lease?.spec.holderIdentity).toBe('first');
  term.abort();
  await held;
  await second;
  expect(store.lease?.spec).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
});

test('who can not renew stops before another may begin', async () => {
  const store = new Store();
  const { signal } = new AbortController();
  const first = candidate(store, 'first');
  await first.acquire(signal);
  const since = performance.now();
  store.isDown = true;
  await first.hold(signal);
  expect(performance.now() - since).toBeLessThan(TIMES.durationMs);
  expect(performance.now() - since).toBeGreaterThan(TIMES.deadlineMs - 50);
});

test('a short outage of the API server costs no leader', async () => {
  const store = new Store();
  const term = new AbortController();
  const first = candidate(store, 'first');
  await first.acquire(term.signal);
  let isLeader = true;
  const held = first.hold(term.signal).then(() => {
    isLeader = false;
  });
  store.isDown = true;
  await sleep(50);
  store.isDown = false;
  await sleep(200);
  expect(isLeader).toBe(true);
  term.abort();
  await held;
});

test('who leaves gives it back, and the next need not wait', async () => {
  const store = new Store();
  const { signal } = new AbortController();
  const first = candidate(store, 'first');
  await first.acquire(signal);
  await first.release();
  const since = performance.now();
  await candidate(store, 'second').acquire(signal);
  expect(performance.now() - since).toBeLessThan(TIMES.durationMs / 2);
});

test('who finds another in its place has lost it', async () => {
  const store = new Store();
  const { signal } = new AbortController();
  const first = candidate(store, 'first');
  await first.acquire(signal);
  const held = first.hold(signal);
  if (store.lease) store.lease = { ...store.lease, spec: { ...store.lease.spec, holderIdentity: 'thief' } };
  await held;
  expect(store.lease?.spec.holderIdentity).toBe('thief');
});
