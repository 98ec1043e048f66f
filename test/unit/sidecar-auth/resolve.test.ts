import { expect, it } from 'vitest';
import { createResolve } from '../../../sidecar-auth/route/resolve.ts';

const found = (...addresses: string[]) =>
  addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

it('keeps the first of each family, in the order of the system', async () => {
  const resolve = createResolve(async () => found('2001:db8::1', '2001:db8::2', '192.0.2.1', '192.0.2.2'));
  expect(await resolve('host')).toEqual({ addresses: ['2001:db8::1', '192.0.2.1'], keep: 30 });
});

it('does not ask for a literal', async () => {
  const resolve = createResolve(() => Promise.reject(new Error('asked')));
  expect(await resolve('192.0.2.1')).toEqual({ addresses: ['192.0.2.1'], keep: 120 });
  expect(await resolve('::1')).toEqual({ addresses: ['::1'], keep: 120 });
});

it('asks once for all who wait, and again afterwards', async () => {
  let asked = 0;
  const resolve = createResolve(async () => {
    asked++;
    return found('192.0.2.1');
  });
  await Promise.all([resolve('host'), resolve('host'), resolve('host')]);
  expect(asked).toBe(1);
  await resolve('host');
  expect(asked).toBe(2);
});

it.each([
  ['ENOTFOUND', 'host: the name is unknown (ENOTFOUND)'],
  ['EAI_AGAIN', 'host: the name server gave no answer (EAI_AGAIN)'],
  ['EOTHER', 'host: the name could not be resolved (EOTHER)'],
])('%s is a failure that says so', async (code, message) => {
  const resolve = createResolve(() => Promise.reject(Object.assign(new Error('x'), { code })));
  await expect(resolve('host')).rejects.toMatchObject({ code: 'resolve', message });
});

it('has a time limit, after which nobody asks the same again until the first question has ended', async () => {
  let asked = 0;
  const resolve = createResolve(() => new Promise(() => asked++), 10);
  await expect(resolve('host')).rejects.toMatchObject({ code: 'resolve', message: 'host: no answer within 0.01 s' });
  await expect(resolve('host')).rejects.toMatchObject({ code: 'resolve' });
  expect(asked).toBe(1);
});

it('asks the real system', async () => {
  const { addresses } = await createResolve()('localhost');
  expect(addresses.some((address) => address === '127.0.0.1' || address === '::1')).toBe(true);
});
