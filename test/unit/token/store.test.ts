import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DirectoryStore } from '../../../sidecar-auth/token/grants/directory.ts';
import { Grants } from '../../../sidecar-auth/token/grants/grants.ts';
import { KubernetesSecretStore } from '../../../sidecar-auth/token/grants/kubernetes-secret.ts';
import { seal, unseal } from '../../../sidecar-auth/token/grants/seal.ts';
import { type GrantStore, told } from '../../../sidecar-auth/token/grants/store.ts';
import { apiServer } from './api-server.ts';
import { temporaryFolder } from './world.ts';

const TOKEN = 'service-account-token';
const OWNER = { destination: 'd', user: 'u', tokenServiceURL: 'https://t.example/', clientId: 'c' };

/** Octets of a grant with a long refresh token. */
const LONG = 100_000;
const HALF_A_YEAR = 184 * 86_400_000;

function grant({ used, octets = 1 }: { used: number; octets?: number }): string {
  return JSON.stringify({ used, content: 'x'.repeat(octets) });
}

/** What a process that was killed has left behind, and one that lives. */
function lease(until: number): string {
  return JSON.stringify({ used: Date.now(), lease: until });
}

async function secretStore() {
  const folder = await temporaryFolder();
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, `${TOKEN}\n`);
  const server = await apiServer(TOKEN);
  const open = () =>
    new KubernetesSecretStore({ server: server.url, tokenFile, fetch }, { namespace: 'mail', name: 'grants' });
  return { ...server, open, tokenFile };
}

async function stores(kind: string): Promise<() => GrantStore> {
  if (kind === 'a Secret') return (await secretStore()).open;
  const folder = await temporaryFolder();
  return () => new DirectoryStore(join(folder, 'grants'));
}

describe.each(['a folder', 'a Secret'])('%s', (kind) => {
  it('keeps what was written, for another process too', async () => {
    const open = await stores(kind);
    expect(await open().read('grant-a')).toBeUndefined();
    const first = await open().write('grant-a', 'one', undefined);
    expect(await open().read('grant-a')).toEqual({ text: 'one', version: first });
    const second = await open().write('grant-a', 'two', first);
    expect(await open().read('grant-a')).toEqual({ text: 'two', version: second });
    expect(await open().read('grant-b')).toBeUndefined();
  });

  it('writes only in place of what the writer has seen', async () => {
    const store = (await stores(kind))();
    const first = await store.write('grant-a', 'one', undefined);
    expect(await store.write('grant-a', 'other', undefined)).toBeUndefined();
    const second = await store.write('grant-a', 'two', first);
    const third = await store.write('grant-a', 'three', second);
    for (const outdated of [undefined, first, second]) {
      expect(await store.write('grant-a', 'other', outdated)).toBeUndefined();
      expect(await store.read('grant-a')).toEqual({ text: 'three', version: third });
    }
  });

  it('one of many writers wins', async () => {
    const open = await stores(kind);
    const first = await open().write('grant-a', 'one', undefined);
    const written = await Promise.all(Array.from({ length: 8 }, (_, i) => open().write('grant-a', `w${i}`, first)));
    expect(written.filter((version) => version !== undefined)).toHaveLength(1);
    const winner = written.findIndex((version) => version !== undefined);
    expect((await open().read('grant-a'))?.text).toBe(`w${winner}`);
  });

  it('writers of different entries do not lose each other', async () => {
    const open = await stores(kind);
    const names = Array.from({ length: 8 }, (_, i) => `grant-${i}`);
    const written = await Promise.all(names.map((name) => open().write(name, name, undefined)));
    expect(written.every((version) => version !== undefined)).toBe(true);
    for (const name of names) expect((await open().read(name))?.text).toBe(name);
  });

  it('removes what is still as it was seen', async () => {
    const store = (await stores(kind))();
    const first = (await store.write('grant-a', 'one', undefined)) ?? '';
    await store.write('grant-a', 'two', first);
    await store.remove('grant-a', first);
    const stored = await store.read('grant-a');
    expect(stored?.text).toBe('two');
    await store.remove('grant-a', stored?.version ?? '');
    expect(await store.read('grant-a')).toBeUndefined();
    expect(await store.write('grant-a', 'new', undefined)).toBeDefined();
  });

  it('does not take a version for that of an entry which was removed and made anew', async () => {
    const store = (await stores(kind))();
    const first = (await store.write('grant-a', 'one', undefined)) ?? '';
    await store.remove('grant-a', first);
    const anew = (await store.write('grant-a', 'two', undefined)) ?? '';
    expect(await store.write('grant-a', 'late', first)).toBeUndefined();
    await store.remove('grant-a', first);
    expect(await store.read('grant-a')).toEqual({ text: 'two', version: anew });
    expect(await store.write('grant-a', 'three', anew)).toBeDefined();
  });

  it('knows what is there', async () => {
    const store = (await stores(kind))();
    expect(store.has('login-a')).toBe(false);
    await store.write('login-a', 'one', undefined);
    await store.read('login-a');
    expect(store.has('login-a')).toBe(true);
    expect(store.has('login-b')).toBe(false);
  });
});

describe('a folder', () => {
  it('is for nobody else', async () => {
    const folder = join(await temporaryFolder(), 'deep', 'grants');
    await new DirectoryStore(folder).write('login-a', 'geheim', undefined);
    const modes = [folder, join(folder, 'login-a'), join(folder, 'login-a', '1')].map(
      async (path) => (await stat(path)).mode & 0o777,
    );
    expect(await Promise.all(modes)).toEqual([0o700, 0o700, 0o600]);
  });

  it('leaves one file per entry, and never minds a draft that a killed process left', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    await mkdir(join(folder, 'grant-a'));
    await writeFile(join(folder, 'grant-a', '.0123'), 'half a gra');
    expect(await store.read('grant-a')).toBeUndefined();
    let version = await store.write('grant-a', 'one', undefined);
    version = await store.write('grant-a', 'two', version);
    expect((await readdir(join(folder, 'grant-a'))).sort()).toEqual(['.0123', '2']);
  });

  it('killed before the old version was removed: the new one counts', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    const first = await store.write('grant-a', 'one', undefined);
    await writeFile(join(folder, 'grant-a', '2'), 'two');
    const stored = await store.read('grant-a');
    expect(stored?.text).toBe('two');
    expect(await store.write('grant-a', 'late', first)).toBeUndefined();
    expect(await store.write('grant-a', 'three', stored?.version)).toBeDefined();
    expect(await readdir(join(folder, 'grant-a'))).toEqual(['3']);
  });

  it('has what has a version: a draft of a killed process is none, and goes after a minute', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    for (const name of ['login-a', 'login-b', 'login-c']) await mkdir(join(folder, name));
    for (const file of ['login-a/.old', 'login-b/.new', 'login-c/.old', 'login-c/1'])
      await writeFile(join(folder, file), 'r');
    const old = new Date(Date.now() - 61_000);
    for (const file of ['login-a/.old', 'login-c/.old']) await utimes(join(folder, file), old, old);
    expect(['login-a', 'login-b', 'login-c'].map((name) => store.has(name))).toEqual([false, false, true]);
    await store.prune();
    expect((await readdir(folder, { recursive: true })).sort()).toEqual([
      ...['login-b', 'login-b/.new', 'login-c', 'login-c/1'],
    ]);
  });

  it('an old draft goes with the next write, too', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    await mkdir(join(folder, 'login-a'));
    const old = new Date(Date.now() - 61_000);
    await writeFile(join(folder, 'login-a', '.old'), 'r');
    await utimes(join(folder, 'login-a', '.old'), old, old);
    await store.write('login-a', 'one', undefined);
    expect(await readdir(join(folder, 'login-a'))).toEqual(['1']);
  });

  it('forgets what nobody has used for half a year', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder);
    const used = grant({ used: Date.now() });
    for (const name of ['grant-old', 'grant-new', 'login-old', 'key']) await store.write(name, used, undefined);
    const old = new Date(Date.now() - 184 * 86_400_000);
    for (const name of ['grant-old', 'login-old', 'key']) await utimes(join(folder, name), old, old);
    await store.prune();
    expect((await readdir(folder)).sort()).toEqual(['grant-new', 'key', 'login-old']);
  });

  it('takes no new grant when it is full, and says so; what is there, logins and what is over stand aside', async () => {
    const folder = await temporaryFolder();
    const said: string[] = [];
    const store = told(new DirectoryStore(folder, 2), { warn: (_, text) => said.push(text) });
    const first = await store.write('grant-a', grant({ used: Date.now() }), undefined);
    await store.write('grant-b', lease(Date.now() + 20_000), undefined);
    for (const name of ['grant-c', 'grant-d'])
      await expect(store.write(name, 'x', undefined)).rejects.toMatchObject({ code: 'token', retry: true });
    expect(said).toEqual(['the store of grants is full: who presents a token for the first time is refused']);
    expect(await store.write('grant-a', grant({ used: Date.now() }), first)).toBeDefined();
    expect(await store.write('login-a', 'x', undefined)).toBeDefined();
    expect((await readdir(folder)).sort()).toEqual(['grant-a', 'grant-b', 'login-a']);
  });

  it('when it is full, what a killed process left makes room', async () => {
    const folder = await temporaryFolder();
    const store = new DirectoryStore(folder, 2);
    await store.write('grant-a', grant({ used: Date.now() }), undefined);
    await store.write('grant-b', lease(Date.now() - 61_000), undefined);
    expect(await store.write('grant-c', 'x', undefined)).toBeDefined();
    expect((await readdir(folder)).sort()).toEqual(['grant-a', 'grant-c']);
  });

  it('says what is wrong with it', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'file'), '');
    const store = told(new DirectoryStore(join(folder, 'file')));
    await expect(store.write('grant-a', 'x', undefined)).rejects.toMatchObject({
      code: 'token',
      message: expect.stringMatching(/^the store of grants can't be used \((ENOTDIR|EEXIST)\)$/),
    });
  });
});

describe('a Secret', () => {
  it('keeps what others keep in it', async () => {
    const { open, secrets } = await secretStore();
    await open().write('key', 'k', undefined);
    await open().write('grant-a', 'one', undefined);
    expect(Object.keys(secrets.get('grants')?.data ?? {})).toEqual(['key', 'grant-a']);
  });

  it('takes no new grant when it is full, and goes on with those it has; logins have room', async () => {
    const { open, secrets } = await secretStore();
    const store = open();
    const used = Date.now();
    const versions = [];
    for (let one = 0; one < 8; one++)
      versions.push(await store.write(`grant-${one}`, grant({ used, octets: LONG }), undefined));
    await expect(store.write('grant-new', grant({ used, octets: LONG }), undefined)).rejects.toThrow('is full');
    expect(await store.write('grant-0', grant({ used, octets: LONG + 1 }), versions[0])).toBeDefined();
    expect(await store.write('login-a', grant({ used, octets: LONG }), undefined)).toBeDefined();
    const names = Array.from({ length: 8 }, (_, one) => `grant-${one}`);
    expect(Object.keys(secrets.get('grants')?.data ?? {})).toEqual([...names, 'login-a']);
  });

  it('is not filled by an app that names many users with one token, and nobody loses a grant', async () => {
    const { open, secrets } = await secretStore();
    const grants = new Grants(open());
    let count = 0;
    const rotating = async () => {
      const refreshToken = `${++count}`.padEnd(2_000, 'r');
      return { accessToken: 'a'.repeat(2_000), expiresAt: Date.now() + 3_600_000, refreshToken };
    };
    await grants.presented(OWNER, 'of someone else', rotating);
    const users = Array.from({ length: 500 }, (_, index) => `user-${index}`);
    for (const user of users) await grants.presented({ ...OWNER, user }, 'of the app', rotating);
    expect(Object.keys(secrets.get('grants')?.data ?? {})).toHaveLength(3); // with the key
    let last: string | undefined;
    await new Grants(open()).presented(OWNER, 'of someone else', async (kept) => {
      last = kept?.refreshToken;
      return await rotating();
    });
    expect(last).toMatch(/^1r/);
  });

  it('when it is full, what is over makes room', async () => {
    const { open, secrets } = await secretStore();
    const store = open();
    await store.write('grant-unused', grant({ used: Date.now() - HALF_A_YEAR, octets: LONG }), undefined);
    await store.write('grant-killed', lease(Date.now() - 61_000), undefined);
    await store.write('grant-asking', lease(Date.now() + 20_000), undefined);
    await store.write('login-unused', grant({ used: 0 }), undefined);
    for (let one = 0; one < 8; one++)
      await store.write(`grant-${one}`, grant({ used: Date.now(), octets: LONG }), undefined);
    const names = Array.from({ length: 8 }, (_, one) => `grant-${one}`);
    expect(Object.keys(secrets.get('grants')?.data ?? {}).sort()).toEqual([...names, 'grant-asking', 'login-unused']);
  });

  it('a new grant that is only a lease counts for what may become of it', async () => {
    const { open } = await secretStore();
    const store = open();
    const written = await Promise.allSettled(
      Array.from({ length: 1_000 }, (_, one) => store.write(`grant-${one}`, lease(Date.now() + 20_000), undefined)),
    );
    expect(written.filter(({ status }) => status === 'fulfilled')).toHaveLength(800);
  });

  it('200 users at once, in two processes: nobody is turned away, and requests are shared', async () => {
    const { open, secrets, requests } = await secretStore();
    const processes = [open(), open()].map((store) => new Grants(store));
    const users = Array.from({ length: 200 }, (_, index) => `user-${index}`);
    const got = await Promise.all(
      users.map(async (user, index) => {
        await sleep(Math.random() * 50);
        const grants = processes[index % 2] as Grants;
        return grants.presented({ ...OWNER, user }, `code of ${user}`, async () => {
          await sleep(Math.random() * 50);
          return { accessToken: `a-${user}`, expiresAt: Date.now() + 3_600_000, refreshToken: `r-${user}` };
        });
      }),
    );
    expect(got.map(({ accessToken }) => accessToken)).toEqual(users.map((user) => `a-${user}`));
    const entries = Object.keys(secrets.get('grants')?.data ?? {}).filter((name) => name.startsWith('grant-'));
    expect(entries).toHaveLength(200);
    expect(requests.length).toBeLessThan(400);
  });

  it('goes on as long as others write first, until the login has no more time', async () => {
    const { open, secrets } = await secretStore();
    const store = open();
    await store.write('key', 'k', undefined);
    const secret = secrets.get('grants') ?? expect.fail('no Secret');
    let others = 40;
    Object.defineProperty(secret.metadata, 'resourceVersion', { get: () => `${others > 0 ? others-- : 0}` });
    const begin = performance.now();
    expect(await store.write('grant-a', 'one', undefined)).toBeDefined();
    expect(others).toBe(0);
    expect(performance.now() - begin).toBeLessThan(30_000);
  });

  it('takes a rotated token, and says when it is refused', async () => {
    const { open, tokenFile } = await secretStore();
    const store = told(open());
    await writeFile(tokenFile, 'old');
    await expect(store.read('grant-a')).rejects.toMatchObject({
      code: 'token',
      message: expect.stringContaining('401'),
    });
    await writeFile(tokenFile, TOKEN);
    expect(await store.read('grant-a')).toBeUndefined();
  });
});

describe('seal', () => {
  const sealed = seal('geheim', 'presented', 'grant-a');

  it('opens for who presents the same', () => {
    expect(unseal(sealed, 'presented', 'grant-a')).toBe('geheim');
    expect(sealed).not.toBe(seal('geheim', 'presented', 'grant-a'));
    expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toContain('geheim');
  });

  it.each([
    ['another secret', sealed, 'presenteD', 'grant-a'],
    ['another entry', sealed, 'presented', 'grant-b'],
    [
      'a changed text',
      `${sealed.slice(0, 20)}${sealed[20] === 'A' ? 'B' : 'A'}${sealed.slice(21)}`,
      'presented',
      'grant-a',
    ],
    ['half a text', sealed.slice(0, 8), 'presented', 'grant-a'],
  ])('does not open with %s', (_, text, presented, name) => {
    expect(() => unseal(text, presented, name)).toThrow();
  });
});
