import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import type { DestinationServiceSimulator } from '../../../demo/destination-service/service.ts';
import type { Found } from '../../../sidecar-auth/destination-service/service.ts';
import { type FetchWith, fetchesOf, Outage } from '../../../sidecar-auth/http.ts';
import { afterwards, BASIC, MAIL, service, simulator, temporaryFolder } from './world.ts';

const OFFICE = { provider: { subaccount: { destinations: [BASIC] } } };
const OTHER = { ...BASIC, 'mail.user': 'other@example' };
const NOT_FOUND = JSON.stringify({ ErrorMessage: 'Configuration with the specified name was not found' });

function clock(): { forward(ms: number): void } {
  vi.useFakeTimers({ toFake: ['Date'] });
  afterwards(() => vi.useRealTimers());
  return { forward: (ms) => void vi.setSystemTime(Date.now() + ms) };
}

/** A way to the service on which something else may answer. */
function interception() {
  const state: { answer?: (request: RequestInit) => Response } = {};
  const fetchWith: FetchWith = (client) => {
    const fetch = fetchesOf()(client);
    return (async (input: string, init: RequestInit) => {
      if (!`${input}`.includes('/destination-configuration/') || !state.answer) return await fetch(input, init);
      return state.answer(init);
    }) as typeof fetch;
  };
  return { state, fetchWith };
}

const failureOf = (work: Promise<unknown> | undefined) =>
  (work ?? expect.fail('nothing to wait for')).then(
    () => expect.fail('no failure'),
    (error) => error,
  );

function userOf(found: Found | undefined): string | undefined {
  return found?.destination.login.kind === 'basic' ? found.destination.login.user : undefined;
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

describe('a slow service', () => {
  it('holds nobody up who can go on with what is known, and is asked once', async () => {
    const { forward } = clock();
    const accounts = structuredClone(OFFICE);
    const running = await simulator({ accounts });
    const { source } = await service(running);
    const found = await source.find({ name: 'office' });
    accounts.provider.subaccount.destinations = [OTHER];
    running.faults.destination = { kind: 'slow', ms: 2_500 };
    forward(121_000);
    const first = await took(async () =>
      expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination),
    );
    expect(first).toBeLessThan(1_800);
    const next = await took(async () =>
      expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination),
    );
    expect(next).toBeLessThan(500);
    await vi.waitFor(() => expect(running.log).toHaveLength(3), 5_000);
    await vi.waitFor(async () => expect(userOf(await source.find({ name: 'office' }))).toBe('other@example'), 3_000);
    expect(running.log).toHaveLength(3);
  });

  it('is waited for where nothing is known', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    running.faults.destination = { kind: 'slow', ms: 1_500 };
    running.faults.token = { kind: 'slow', ms: 500 };
    const all = await Promise.all(Array.from({ length: 5 }, () => source.find({ name: 'office' })));
    expect(all.map(userOf)).toEqual(Array(5).fill('robot@example'));
    expect(running.log).toHaveLength(2);
  });
});

describe.each<[string, () => Response]>([
  ['429', () => new Response(JSON.stringify({ ErrorMessage: 'Too many requests' }), { status: 429 })],
  ['a page with 200', () => new Response('<html>maintenance</html>')],
  ['other JSON with 200', () => new Response('[]')],
  ['a redirect', () => new Response(null, { status: 302, headers: { location: '/login' } })],
  [
    'a router that knows no such route',
    () => new Response('404 Not Found: Requested route does not exist', { status: 404 }),
  ],
  ['a 404 in other words', () => new Response(JSON.stringify({ ErrorMessage: 'No such resource' }), { status: 404 })],
])('%s', (_what, answer) => {
  it('is an outage: what was known is used', async () => {
    const { forward } = clock();
    const { state, fetchWith } = interception();
    const { source } = await service(await simulator({ accounts: OFFICE }), { fetchWith });
    const found = await source.find({ name: 'office' });
    state.answer = answer;
    forward(121_000);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
    const failure = await failureOf(source.find({ name: 'other' }));
    expect(failure).toBeInstanceOf(Outage);
    expect(failure).toMatchObject({ code: 'unknown_destination', retry: true });
    // The twin: the service's own words.
    state.answer = () => new Response(NOT_FOUND, { status: 404 });
    forward(121_000);
    expect(await source.find({ name: 'office' })).toBeUndefined();
  });
});

it('after a refusal an outage is still bridged', async () => {
  const { forward } = clock();
  const { state, fetchWith } = interception();
  const { source } = await service(await simulator({ accounts: OFFICE }), { fetchWith });
  const found = await source.find({ name: 'office' });
  state.answer = () => new Response('', { status: 403 });
  forward(121_000);
  expect(await failureOf(source.find({ name: 'office' }))).toMatchObject({ retry: false });
  state.answer = () => new Response('', { status: 503 });
  forward(6_000);
  expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
});

describe('in an outage', () => {
  async function outage() {
    const { forward } = clock();
    const running = await simulator({ accounts: OFFICE });
    const world = await service(running);
    const found = await world.source.find({ name: 'office' });
    running.faults.destination = { kind: 'down' };
    running.faults.token = { kind: 'down' };
    forward(121_000);
    return { ...world, running, forward, found };
  }

  it.each<[string, (file: string, running: DestinationServiceSimulator) => Promise<unknown>]>([
    ['touched', (file, { binding }) => writeFile(file, `${JSON.stringify(binding)}\n`)],
    ['half written', (file) => writeFile(file, '{"clientid": "s3c')],
    ['away', (file) => rm(file)],
    [
      'rotated',
      (file, running) => {
        running.rotate();
        return writeFile(file, JSON.stringify({ ...running.binding, clientid: 'other' }));
      },
    ],
  ])('a binding that is %s loses nothing', async (_what, change) => {
    const { source, file, running, found } = await outage();
    await change(file, running);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
  });

  it('a binding of another service does not get what the old one said', async () => {
    const { source, file, running } = await outage();
    await writeFile(file, JSON.stringify({ ...running.binding, url: running.url.replace('provider', 'acme') }));
    expect(await failureOf(source.find({ name: 'office' }))).toBeInstanceOf(Outage);
  });

  it('another instance loses nothing of those that stay', async () => {
    const { source, file, found } = await outage();
    const other = join(await temporaryFolder(), 'other.json');
    source.use([
      { name: 'main', binding: file },
      { name: 'other', binding: other },
    ]);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
  });
});

it('what the service repeats of a request stands in no error text', async () => {
  const { state, fetchWith } = interception();
  const oauth = { ...MAIL, Authentication: 'OAuth2RefreshToken', clientId: 'mail', clientSecret: 's3cret' };
  const destinations = [{ ...oauth, tokenServiceURL: 'https://idp.example/token' }];
  const { source } = await service(await simulator({ accounts: { provider: { subaccount: { destinations } } } }), {
    fetchWith,
  });
  const { issuer } = (await source.find({ name: 'office' })) ?? {};
  const sent: string[] = [];
  state.answer = ({ headers }) => {
    const { authorization, 'x-refresh-token': token } = headers as Record<string, string>;
    sent.push(`${authorization}`.slice('Bearer '.length), ...(token === undefined ? [] : [token]));
    return new Response(JSON.stringify({ ErrorMessage: `not ${authorization} ${token}` }), { status: 400 });
  };
  const exchange = await failureOf(issuer?.exchange?.('jane', 'pr3s/ented'));
  expect(exchange).toMatchObject({ code: 'token', retry: false, message: expect.stringContaining('(400)') });
  const find = await failureOf(source.find({ name: 'other' }));
  expect(find).toMatchObject({ code: 'unknown_destination', message: expect.stringContaining('not Bearer ***') });
  expect(sent).toContain('pr3s/ented');
  for (const secret of sent) expect(inspect([exchange, find], { depth: 10 })).not.toContain(secret);
});

it('a lifetime of years is not believed', async () => {
  const { state, fetchWith } = interception();
  const oauth = { ...MAIL, Authentication: 'OAuth2ClientCredentials', clientId: 'mail', clientSecret: 's3cret' };
  const destinations = [{ ...oauth, tokenServiceURL: 'https://idp.example/token' }];
  const { source } = await service(await simulator({ accounts: { provider: { subaccount: { destinations } } } }), {
    fetchWith,
  });
  const { issuer } = (await source.find({ name: 'office' })) ?? {};
  const authTokens = [{ type: 'Bearer', value: 'jwt', expires_in: '999999999' }];
  state.answer = () => new Response(JSON.stringify({ destinationConfiguration: {}, authTokens }));
  const { expiresAt } = (await issuer?.silent?.()) ?? expect.fail('no token');
  expect(expiresAt).toBeLessThanOrEqual(Date.now() + 86_400_000);
});

it('a destination whose server is not verified is logged, once for each state', async () => {
  const { forward } = clock();
  const unverified = { ...BASIC, Name: 'trusting', 'mail.smtp.ssl.trust': '*' };
  const accounts = { provider: { subaccount: { destinations: [BASIC, unverified] as object[] } } };
  const running = await simulator({ accounts: accounts as typeof OFFICE });
  const { source, logged } = await service(running);
  await source.find({ name: 'office' });
  expect(logged).toEqual([]);
  for (let asked = 0; asked < 3; asked++) {
    expect((await source.find({ name: 'trusting' }))?.destination.verify).toBe(false);
    forward(121_000);
  }
  expect(logged).toEqual([
    [expect.objectContaining({ destination: 'trusting' }), expect.stringContaining('ssl.trust')],
  ]);
  accounts.provider.subaccount.destinations = [{ ...unverified, 'mail.smtp.host': 'other.example' }];
  await source.find({ name: 'trusting' });
  expect(logged).toHaveLength(2);
});
