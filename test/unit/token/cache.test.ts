import { expect, it } from 'vitest';
import { Failure } from '../../../sidecar-auth/failure.ts';
import { TokenCache } from '../../../sidecar-auth/token/cache.ts';
import type { AccessToken } from '../../../sidecar-auth/token/issuer.ts';

const S = 1000;

/** A cache with a clock of its own, and an issuer that counts. */
function world(lifetime = 3600 * S, limit?: number) {
  const clock = { now: 1_000_000 };
  const cache = new TokenCache({ now: () => clock.now, ...(limit !== undefined && { limit }) });
  const issued: string[] = [];
  const issue = async (): Promise<AccessToken> => {
    issued.push(`token-${issued.length + 1}`);
    return { value: issued.at(-1) ?? '', expiresAt: clock.now + lifetime };
  };
  const get = async (key = 'a') => (await cache.get(key, issue)).value;
  return { clock, cache, issued, issue, get };
}

it('asks once for all who wait, for each key', async () => {
  const { get, issued } = world();
  const values = await Promise.all(Array.from({ length: 200 }, () => get('a')));
  expect(new Set(values)).toEqual(new Set(['token-1']));
  expect(await get('b')).toBe('token-2');
  expect(issued).toHaveLength(2);
});

it('200 at once on an expired token ask once', async () => {
  const { clock, get, issued } = world();
  await get();
  clock.now += 3600 * S;
  const values = await Promise.all(Array.from({ length: 200 }, () => get()));
  expect(new Set(values)).toEqual(new Set(['token-2']));
  expect(issued).toHaveLength(2);
});

it.each([
  [3600, 3000],
  [400, 300],
])('a token of %i s is renewed after %i s, and handed out meanwhile', async (lifetime, after) => {
  const { clock, get, issued } = world(lifetime * S);
  await get();
  clock.now += after * S - 1;
  await get();
  expect(issued).toHaveLength(1);
  clock.now += 1;
  expect(await get()).toBe('token-1');
  expect(issued).toHaveLength(2);
  expect(await get()).toBe('token-2');
});

it('a token stays in use while its renewal fails, and no request is made for each use', async () => {
  const { clock, cache, get } = world();
  await get();
  clock.now += 3100 * S;
  let asked = 0;
  const failing = async () => {
    asked++;
    throw new Failure('token', 'down');
  };
  for (let use = 0; use < 5; use++) {
    expect((await cache.get('a', failing)).value).toBe('token-1');
    await new Promise(setImmediate);
  }
  expect(asked).toBe(1);
  clock.now += 490 * S;
  await expect(cache.get('a', failing)).rejects.toThrow('down');
});

it.each([
  ['a refusal', false, 5000],
  ['a fault', true, 1000],
])('%s stands for a while', async (_, retry, ms) => {
  const { clock, cache, get } = world();
  let asked = 0;
  const failing = async () => {
    asked++;
    throw new Failure('token', 'no', { retry });
  };
  await expect(cache.get('a', failing)).rejects.toThrow('no');
  clock.now += ms - 1;
  await expect(cache.get('a', failing)).rejects.toThrow('no');
  await expect(get('other')).resolves.toBe('token-1');
  expect(asked).toBe(1);
  clock.now += 1;
  expect(await get()).toBe('token-2');
});

it('drops a refused token at once, and stops asking where each new one is refused', async () => {
  const { clock, cache, get, issued } = world();
  await get();
  cache.refused('another');
  expect(await get()).toBe('token-1');
  cache.refused('token-1');
  cache.refused('token-1'); // of a second connection
  for (const next of ['token-2', 'token-3', 'token-4']) {
    expect(await get()).toBe(next);
    cache.refused(next);
  }
  const message = expect.not.stringContaining('mail server'); // there are tokens for other services, too
  await expect(get()).rejects.toMatchObject({ code: 'token', retry: true, message });
  expect(issued).toHaveLength(4);
  clock.now += 5 * S;
  expect(await get()).toBe('token-5');
});

it('keeps a bounded number, and forgets what was not used for the longest time', async () => {
  const { cache, get, issued } = world(3600 * S, 2);
  await get('a');
  await get('b');
  await get('a');
  await get('c');
  expect(cache.size).toBe(2);
  await get('a');
  expect(issued).toHaveLength(3);
  expect(await get('b')).toBe('token-4');
});
