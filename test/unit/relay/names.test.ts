import { expect, it } from 'vitest';
import { NAMES_LIMIT } from '../../../sidecar-auth/relay/limits.ts';
import { keepNames } from '../../../sidecar-auth/relay/names.ts';

it('are asked for again when their time is over, and after a failure', async () => {
  const asked: string[] = [];
  let time = 0;
  let fails = true;
  const resolve = keepNames(
    async (host) => {
      asked.push(host);
      if (fails) throw new Error('no answer');
      return { addresses: ['192.0.2.1'], keep: 30 };
    },
    () => time,
  );
  await expect(resolve('a.example')).rejects.toThrow('no answer');
  fails = false;
  for (time of [0, 29_999, 30_000]) expect((await resolve('a.example')).addresses).toEqual(['192.0.2.1']);
  expect(asked).toHaveLength(3);
});

it('are kept up to a number: the oldest goes', async () => {
  const asked: string[] = [];
  const resolve = keepNames(async (host) => {
    asked.push(host);
    return { addresses: [], keep: 30 };
  });
  for (let i = 0; i <= NAMES_LIMIT; i++) await resolve(`${i}.example`);
  asked.length = 0;
  for (const host of ['1.example', `${NAMES_LIMIT}.example`, '0.example']) await resolve(host);
  expect(asked).toEqual(['0.example']);
});
