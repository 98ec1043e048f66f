import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
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
  return {
    first: new Grants(watched, { leaseMs: LEASE_MS }),
    second: new Grants(store, { leaseMs: LEASE_MS }),
    renewedTimes,
    store,
    folder,
  };
}

function parse(text: string): unknown {
  return text.startsWith('{') ? JSON.parse(text) : undefined;
}

/** Something that ends when it is told to. */
function held<T>() {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const started = Promise.withResolvers<void>();
  const asked: unknown[] = [];
  const issue = (last: unknown) => {
    asked.push(last);
    started.resolve();
    return promise;
  };
  return { issue, asked, started: started.promise, resolve, reject };
}

function tokens(accessToken: string, lifetimeMs: number): IssuedTokens {
  return { accessToken, expiresAt: Date.now() + lifetimeMs, refreshToken: 'r' };
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
    await twice.started; // with the refresh token that came with the code
    twice.resolve(tokens('newer', 60 * MINUTE));
    expect([(await one).accessToken, (await two).accessToken]).toEqual(['new', 'newer']);
    expect(twice.asked).toEqual([{ refreshToken: 'r' }]);
  });

  it('another asks at once when the first has failed', async () => {
    const { first, second } = await shared();
    const failing = first.presented(OWNER, 'code', () => Promise.reject(new Failure('token', 'no')));
    await expect(failing).rejects.toThrow('no');
    const got = await second.presented(OWNER, 'code', async () => tokens('new', 60 * MINUTE));
    expect(got.accessToken).toBe('new');
  });
});

/** A token service that takes one refresh token as often as it comes, and gives a new one each time. */
function generous() {
  let count = 0;
  return async () => ({ ...tokens(`access-${++count}`, 60 * MINUTE), refreshToken: `refresh-${count}` });
}

describe('an app that names many users with one token', () => {
  it('has one grant in the store, and puts nobody else out of it', async () => {
    const folder = await temporaryFolder();
    const grants = new Grants(new DirectoryStore(folder, 20));
    const issue = generous();
    await grants.presented(OWNER, 'of someone else', issue);
    const names = Array.from({ length: 50 }, (_, index) => `user-${index}`);
    await Promise.all(names.map((user) => grants.presented({ ...OWNER, user }, 'of the app', issue)));
    expect((await readdir(folder)).filter((name) => name.startsWith('grant-'))).toHaveLength(2);
    // Twins: the other grant is followed, and other tokens have grants of their own.
    const last = held<IssuedTokens>();
    last.resolve(tokens('a', MINUTE));
    await new Grants(new DirectoryStore(folder)).presented(OWNER, 'of someone else', last.issue);
    expect(last.asked).toEqual([{ refreshToken: 'refresh-1' }]);
    for (const one of ['1', '2', '3']) await grants.presented(OWNER, one, issue);
    expect((await readdir(folder)).filter((name) => name.startsWith('grant-'))).toHaveLength(5);
  });

  it('asks the token service for one after the other', async () => {
    const grants = new Grants(new DirectoryStore(await temporaryFolder()));
    let running = 0;
    const issue = async () => {
      expect(++running).toBe(1);
      await sleep(5);
      running--;
      return tokens('a', MINUTE);
    };
    const users = ['a', 'b', 'c', 'd'];
    await Promise.all(users.map((user) => grants.presented({ ...OWNER, user }, 'one', issue)));
  });
});

describe('what is stored', () => {
  const entries = async (folder: string) => (await readdir(folder)).filter((name) => name !== 'key');

  async function stored(presented: string, issued: IssuedTokens) {
    const folder = await temporaryFolder();
    await new Grants(new DirectoryStore(folder)).presented(OWNER, presented, async () => issued);
    return { folder, names: await entries(folder) };
  }

  it('nothing, as long as the refresh token is the one that was presented', async () => {
    expect((await stored('r', tokens('a', MINUTE))).names).toEqual([]);
    expect((await stored('other', tokens('a', MINUTE))).names).toHaveLength(1);
  });

  it('nothing any more, once the presented one is in force again', async () => {
    const { folder } = await stored('presented', tokens('a', MINUTE));
    const grants = new Grants(new DirectoryStore(folder));
    await grants.presented(OWNER, 'presented', async () => ({ ...tokens('b', MINUTE), refreshToken: 'presented' }));
    expect(await entries(folder)).toEqual([]);
  });

  it('no access token, unless it is all there is', async () => {
    const folder = await temporaryFolder();
    const grants = new Grants(new DirectoryStore(folder));
    const text = async () => {
      const [name = ''] = await entries(folder);
      const [version = ''] = await readdir(join(folder, name));
      return await readFile(join(folder, name, version), 'utf8');
    };
    await grants.storeLogin(OWNER, tokens('geheim', MINUTE));
    expect(await text()).not.toContain('geheim');
    const { refreshToken: _, ...only } = tokens('geheim', MINUTE);
    await grants.storeLogin(OWNER, only);
    expect(await text()).toContain('geheim');
  });
});

describe('a renewal that is under way', () => {
  it('does not undo a newer postern login, and goes on with that', async () => {
    const { first, second } = await shared();
    await second.storeLogin(OWNER, tokens('old', 0));
    const asking = held<IssuedTokens>();
    const asked: unknown[] = [];
    const renewing = first.login(OWNER, (last) => {
      asked.push(last?.refreshToken);
      return asked.length === 1
        ? asking.issue(last)
        : Promise.resolve({ ...tokens('new', MINUTE), refreshToken: 'n2' });
    });
    await asking.started;
    await second.storeLogin(OWNER, { ...tokens('x', 0), refreshToken: 'new consent' });
    asking.resolve({ ...tokens('of the old one', MINUTE), refreshToken: 'r2' });
    expect((await renewing).accessToken).toBe('new');
    expect(asked).toEqual(['r', 'new consent']);
    const now = held<IssuedTokens>();
    now.resolve(tokens('a', MINUTE));
    await second.login(OWNER, now.issue);
    expect(now.asked).toEqual([{ refreshToken: 'n2' }]);
  });

  it('is stored all the same where only its lease was lost', async () => {
    const { first, second, store, folder } = await shared();
    await second.storeLogin(OWNER, tokens('old', 0));
    const asking = held<IssuedTokens>();
    const renewing = first.login(OWNER, asking.issue);
    await asking.started;
    const [name = ''] = await readdir(folder);
    for (let written: string | undefined; !written; ) {
      const entry = (await store.read(name)) ?? expect.fail('no entry');
      written = await store.write(name, entry.text, entry.version);
    }
    asking.resolve({ ...tokens('new', MINUTE), refreshToken: 'r2' });
    expect((await renewing).accessToken).toBe('new');
    const now = held<IssuedTokens>();
    now.resolve(tokens('a', MINUTE));
    await second.login(OWNER, now.issue);
    expect(now.asked).toEqual([{ refreshToken: 'r2' }]);
  });

  it('that could not be stored is forgotten once there is a newer postern login', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    const grants = new Grants(store);
    await grants.storeLogin(OWNER, tokens('old', 0));
    const write = store.write.bind(store);
    await grants.login(OWNER, async () => {
      store.write = () => Promise.reject(new Error('disk full'));
      return { ...tokens('a', MINUTE), refreshToken: 'unstored' };
    });
    store.write = write;
    const asked: unknown[] = [];
    const issue: Issue = async (last) => {
      asked.push(last?.refreshToken);
      throw new Failure('token', 'no');
    };
    await expect(grants.login(OWNER, issue)).rejects.toThrow('no');
    await new Grants(store).storeLogin(OWNER, { ...tokens('x', 0), refreshToken: 'new consent' });
    await expect(grants.login(OWNER, issue)).rejects.toThrow('no');
    expect(asked).toEqual(['unstored', 'new consent']);
  });
});
