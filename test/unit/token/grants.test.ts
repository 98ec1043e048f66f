import { describe, expect, it, vi } from 'vitest';
import { Failure } from '../../../sidecar-auth/failure.ts';
import { DirectoryStore } from '../../../sidecar-auth/token/grants/directory.ts';
import { Grants, type Issue } from '../../../sidecar-auth/token/grants/grants.ts';
import type { IssuedTokens } from '../../../sidecar-auth/token/request.ts';
import { temporaryFolder } from './world.ts';

const OWNER = { destination: 'd', user: 'u', tokenServiceURL: 'https://t.example/', clientId: 'c' };
/** Milliseconds of a lease: much longer than a write, for the machine may be slow. */
const LEASE_MS = 1_000;
const MINUTE = 60_000;

/** A folder, the processes that share it, and how often a lease was written by the first of them. */
async function shared() {
  const folder = await temporaryFolder();
  const leases = { count: 0, reached: (_count: number): void => {} };
  const store = new DirectoryStore(folder);
  const watched = new DirectoryStore(folder);
  watched.write = async (name, text, version) => {
    const written = await store.write(name, text, version);
    if ('lease' in Object(parse(text))) leases.reached(++leases.count);
    return written;
  };
  const renewedTimes = (count: number) =>
    new Promise<void>((resolve) => {
      leases.reached = (reached) => reached > count && resolve();
    });
  return { first: new Grants(watched, LEASE_MS), second: new Grants(store, LEASE_MS), renewedTimes };
}

function parse(text: string): unknown {
  return text.startsWith('{') ? JSON.parse(text) : undefined;
}

/** Something that ends when it is told to. */
function held<T>() {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const started = Promise.withResolvers<void>();
  const issue = () => {
    started.resolve();
    return promise;
  };
  return { issue, started: started.promise, resolve, reject };
}

function tokens(accessToken: string, lifetimeMs: number): IssuedTokens {
  return { accessToken, expiresAt: Date.now() + lifetimeMs, refreshToken: 'r' };
}

/** A token in its last minutes, which was issued an hour ago. */
async function inRenewal(grants: Grants): Promise<void> {
  const old = tokens('old', 5 * MINUTE);
  const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 60 * MINUTE);
  await grants.storeLogin(OWNER, old).finally(() => clock.mockRestore());
}

describe('while one process asks for a grant', () => {
  it('no other does, however long it takes', async () => {
    const { first, second, renewedTimes } = await shared();
    const asking = held<IssuedTokens>();
    const longer = renewedTimes(5);
    const one = first.presented(OWNER, 'code', asking.issue);
    await asking.started;
    const twice = held<IssuedTokens>();
    const two = second.presented(OWNER, 'code', twice.issue);
    await Promise.race([longer, twice.started.then(() => expect.fail('the code was redeemed twice'))]);
    asking.resolve(tokens('new', 60 * MINUTE));
    expect([(await one).accessToken, (await two).accessToken]).toEqual(['new', 'new']);
  });

  it('another asks at once when the first has failed', async () => {
    const { first, second } = await shared();
    const failing = first.presented(OWNER, 'code', () => Promise.reject(new Failure('token', 'no')));
    await expect(failing).rejects.toThrow('no');
    const got = await second.presented(OWNER, 'code', async () => tokens('new', 60 * MINUTE));
    expect(got.accessToken).toBe('new');
  });
});

describe('a token that is to be renewed, and still good', () => {
  const renew = (grants: Grants, issue: Issue) => grants.login(OWNER, issue);
  const failing = (retry: boolean) => () => Promise.reject(new Failure('token', 'down', { retry }));

  it('is handed out while another process renews it', async () => {
    const { first, second } = await shared();
    await inRenewal(first);
    const asking = held<IssuedTokens>();
    const one = renew(first, asking.issue);
    await asking.started;
    const two = await renew(second, () => expect.fail('is renewed twice'));
    expect(two.accessToken).toBe('old');
    asking.resolve(tokens('new', 60 * MINUTE));
    expect((await one).accessToken).toBe('new');
    expect((await renew(second, failing(true))).accessToken).toBe('new');
  });

  it('is handed out while it cannot be renewed', async () => {
    const { first } = await shared();
    await inRenewal(first);
    expect((await renew(first, failing(true))).accessToken).toBe('old');
    await expect(renew(first, failing(false))).rejects.toThrow('down');
    expect((await renew(first, async () => tokens('new', 60 * MINUTE))).accessToken).toBe('new');
  });

  it('is not handed out once a server has refused it', async () => {
    const { first } = await shared();
    await inRenewal(first);
    first.refused('old');
    await expect(renew(first, failing(true))).rejects.toThrow('down');
  });
});
