import { inspect } from 'node:util';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createCertificates } from '../../../demo/certificates.ts';
import type { DestinationRef } from '../../../sidecar-auth/destination-service/reference.ts';
import type { DestinationService, Found } from '../../../sidecar-auth/destination-service/service.ts';
import { fetchesOf } from '../../../sidecar-auth/http.ts';
import { afterwards, BASIC, MAIL, service, simulator, temporaryFolder } from './world.ts';

const OFFICE = { provider: { subaccount: { destinations: [BASIC] } } };

/** Only Date: sockets and their time limits go on. */
function clock(): { forward(ms: number): void } {
  vi.useFakeTimers({ toFake: ['Date'] });
  afterwards(() => vi.useRealTimers());
  return { forward: (ms) => void vi.setSystemTime(Date.now() + ms) };
}

async function user(found: Promise<Found | undefined>): Promise<string | undefined> {
  const { login } = (await found)?.destination ?? {};
  return login?.kind === 'basic' ? login.user : undefined;
}

async function failure(source: DestinationService, ref: DestinationRef) {
  return await source.find(ref).then(
    () => expect.fail('no failure'),
    (error) => error,
  );
}

describe('find', () => {
  it('gives the destination, by one token and one request in two minutes', async () => {
    const { forward } = clock();
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    const found = await source.find({ name: 'office' });
    expect(found?.destination).toMatchObject({
      name: 'office',
      file: `${running.url}/destination-configuration/v1/destinations/office`,
      protocol: 'smtp',
      host: 'mail.example',
      port: 587,
      login: { kind: 'basic', user: 'robot@example', password: 'p4ssw0rd' },
    });
    expect(found?.issuer).toBeUndefined();
    forward(119_000);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
    expect(running.log.map(({ what, query }) => [what, ...query])).toEqual([
      ['token'],
      ['destination', '$skipTokenRetrieval'],
    ]);
  });

  it('asks again after two minutes, and keeps the object as long as nothing changed', async () => {
    const { forward } = clock();
    const accounts = structuredClone(OFFICE);
    const running = await simulator({ accounts });
    const { source } = await service(running);
    const found = await source.find({ name: 'office' });
    forward(121_000);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
    expect(running.log).toHaveLength(3);
    accounts.provider.subaccount.destinations = [{ ...BASIC, 'mail.user': 'other@example' }];
    forward(121_000);
    expect(await user(source.find({ name: 'office' }))).toBe('other@example');
  });

  it('asks once for many who come together', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    await Promise.all(Array.from({ length: 50 }, () => source.find({ name: 'office' })));
    expect(running.log).toHaveLength(2);
  });

  it('tells an unknown destination from one that is wrong', async () => {
    const wrong = { ...BASIC, Name: 'wrong', 'mail.smtp.host': '', 'mail.smtp.port': '0' };
    const running = await simulator({
      accounts: { provider: { subaccount: { destinations: [wrong, { Name: 'http', Type: 'HTTP' }] } } },
    });
    const { source } = await service(running);
    expect(await source.find({ name: 'nobody' })).toBeUndefined();
    expect(await failure(source, { name: 'wrong' })).toMatchObject({
      code: 'unknown_destination',
      message: expect.stringContaining('mail.smtp.port'),
    });
    expect(await failure(source, { name: 'http' })).toMatchObject({
      code: 'unknown_destination',
      message: expect.stringContaining('Type'),
    });
    const asked = running.log.length;
    await source.find({ name: 'nobody' });
    await failure(source, { name: 'wrong' });
    expect(running.log).toHaveLength(asked);
  });

  it('asks v2 with a level, with fragments and chains', async () => {
    const running = await simulator({
      accounts: {
        provider: {
          subaccount: { destinations: [BASIC] },
          instance: {
            destinations: [{ ...BASIC, 'mail.user': 'instance@example' }],
            fragments: [{ FragmentName: 'port', 'mail.smtp.port': '2525' }],
          },
        },
      },
      chains: { 'com.example.chain': ['Subject'] },
    });
    const { source } = await service(running);
    expect(await user(source.find({ name: 'office' }))).toBe('instance@example');
    expect(await user(source.find({ name: 'office', level: 'subaccount' }))).toBe('robot@example');
    const fragment = { name: 'port@instance', optional: false };
    const chain = { name: 'com.example.chain', variables: { Subject: 'x' } };
    expect((await source.find({ name: 'office', level: 'subaccount', fragment, chain }))?.destination.port).toBe(2525);
    expect(running.log.at(-1)).toMatchObject({
      path: '/destination-configuration/v2/destinations/office@subaccount',
      headers: ['x-chain-name', 'x-chain-var-subject', 'x-fragment-name'],
    });
    const missing = { name: 'none', optional: false };
    expect(await failure(source, { name: 'office', fragment: missing })).toMatchObject({
      code: 'unknown_destination',
      message: expect.stringContaining('none'),
    });
    expect(await user(source.find({ name: 'office', fragment: { ...missing, optional: true } }))).toBe(
      'instance@example',
    );
    expect(await source.find({ name: 'nobody', fragment: missing })).toBeUndefined();
    expect(
      await failure(source, { name: 'office', chain: { name: 'com.example.other', variables: {} } }),
    ).toMatchObject({ code: 'unknown_destination' });
  });

  it('puts nothing into a request that could become something else', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    expect(await source.find({ name: '../subaccountDestinations/office' })).toBeUndefined();
    expect(await source.find({ name: 'office?x=1#y' })).toBeUndefined();
    expect(running.log.map(({ path, query }) => [path, ...query]).slice(1)).toEqual([
      ['/destination-configuration/v1/destinations/..%2FsubaccountDestinations%2Foffice', '$skipTokenRetrieval'],
      ['/destination-configuration/v1/destinations/office%3Fx%3D1%23y', '$skipTokenRetrieval'],
    ]);
    const fragment = { name: 'a\r\nX-tenant: b', optional: false };
    expect(await failure(source, { name: 'office', fragment })).toMatchObject({ code: 'unknown_destination' });
    expect(await failure(source, { name: 'office', tenant: 'evil.example/' })).toMatchObject({
      code: 'token',
      retry: false,
    });
  });

  it('keeps two tenants with the same destination name apart', async () => {
    const of = (name: string) => ({ subaccount: { destinations: [{ ...BASIC, 'mail.user': `${name}@example` }] } });
    const running = await simulator({
      accounts: { provider: of('provider'), acme: of('acme'), umbrella: of('umbrella') },
    });
    const { source } = await service(running);
    const tenants = ['acme', 'umbrella', undefined, 'acme', 'umbrella'];
    const users = await Promise.all(
      tenants.map((tenant) => user(source.find({ name: 'office', ...(tenant && { tenant }) }))),
    );
    expect(users).toEqual(['acme@example', 'umbrella@example', 'provider@example', 'acme@example', 'umbrella@example']);
    const asked = running.log.filter(({ what }) => what === 'destination').map(({ tenant }) => tenant);
    expect(asked.sort()).toEqual(['acme', 'provider', 'umbrella']);
    expect(await failure(source, { name: 'office', tenant: 'nobody' })).toMatchObject({ code: 'token' });
  });

  it('uses a binding that was rotated, without a restart', async () => {
    const { forward } = clock();
    const running = await simulator({ accounts: OFFICE });
    const { source, rewrite } = await service(running);
    await source.find({ name: 'office' });
    running.rotate();
    forward(12 * 3600_000); // the old token has ended, and the old secret gets no other
    expect(await failure(source, { name: 'office' })).toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringMatching(/refused the request \(401\)$/),
    });
    await rewrite();
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
  });

  it('gets a new token once where the service refuses the old one', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    running.faults.destination = { kind: '401', left: 1 };
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
    expect(running.log.map(({ what, status }) => [what, status])).toEqual([
      ['token', 200],
      ['destination', 401],
      ['token', 200],
      ['destination', 200],
    ]);
    running.faults.destination = { kind: '401' };
    const error = await failure(source, { name: 'other' });
    expect(error).toMatchObject({ code: 'unknown_destination', message: expect.stringContaining('401') });
    expect(running.log.length).toBeLessThanOrEqual(8);
  });
});

describe('an outage', () => {
  let forward: (ms: number) => void;
  beforeEach(() => {
    ({ forward } = clock());
  });

  it('of five minutes: what was known is used', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source, logged } = await service(running);
    const found = await source.find({ name: 'office' });
    for (const kind of ['down', '5xx'] as const) {
      running.faults.destination = { kind };
      for (let minute = 0; minute < 5; minute++) {
        forward(60_000);
        expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
      }
    }
    expect(logged).not.toHaveLength(0);
    delete running.faults.destination;
    const asked = running.log.length;
    forward(11_000);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
    expect(running.log).toHaveLength(asked + 1);
  });

  it('does not make each login wait: the service is asked again after 10 seconds', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    await source.find({ name: 'office' });
    running.faults.destination = { kind: 'down' };
    forward(121_000);
    await source.find({ name: 'office' });
    const asked = running.log.length;
    forward(9_000);
    await source.find({ name: 'office' });
    expect(running.log).toHaveLength(asked);
    forward(2_000);
    await source.find({ name: 'office' });
    expect(running.log.length).toBeGreaterThan(asked);
  });

  it('of the token service: what was known is used', async () => {
    const running = await simulator({ accounts: OFFICE, tokenSeconds: 60 });
    const { source } = await service(running);
    const found = await source.find({ name: 'office' });
    running.faults.token = { kind: '5xx' };
    forward(121_000);
    expect((await source.find({ name: 'office' }))?.destination).toBe(found?.destination);
    expect(await failure(source, { name: 'other' })).toMatchObject({ code: 'token', retry: true });
  });

  it('a refusal is none: what was known is not used', async () => {
    const accounts = structuredClone(OFFICE);
    const running = await simulator({ accounts });
    const { source } = await service(running);
    await source.find({ name: 'office' });
    accounts.provider.subaccount.destinations = [];
    forward(121_000);
    expect(await source.find({ name: 'office' })).toBeUndefined();
  });

  it('with nothing known is told, and asked about again soon', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source } = await service(running);
    running.faults.destination = { kind: '5xx' };
    expect(await failure(source, { name: 'office' })).toMatchObject({ code: 'unknown_destination', retry: true });
    delete running.faults.destination;
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
  });

  it('of one request is bridged, by waits that differ', async () => {
    const running = await simulator({ accounts: OFFICE });
    const { source, waits } = await service(running);
    running.faults.token = { kind: 'down', left: 2 };
    running.faults.destination = { kind: '5xx', left: 2 };
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
    expect(running.log.map(({ status }) => status)).toEqual([0, 0, 200, 503, 503, 200]);
    expect(waits).toHaveLength(4);
    expect(new Set(waits).size).toBe(4);
    expect(waits.every((ms, index) => ms >= 0 && ms <= 200 * (1 + (index % 2)))).toBe(true);
  });
});

describe('an X.509 binding', () => {
  it('shows its certificate at the token endpoint, and only the CAs that were given are trusted', async () => {
    const certificates = await createCertificates(await temporaryFolder());
    const tls = await certificates.issue('service', { names: ['provider.localhost', 'acme.localhost'] });
    const clientCertificate = await certificates.issue('client');
    const running = await simulator({
      accounts: { provider: { subaccount: { destinations: [BASIC] } }, acme: {} },
      tls,
      clientCertificate,
    });
    const { source, rewrite } = await service(running, { fetchWith: fetchesOf({ ca: certificates.ca }) });
    expect(running.binding.clientsecret).toBeUndefined();
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
    expect(await source.find({ name: 'office', tenant: 'acme' })).toBeUndefined();

    const stranger = await service(running);
    expect(await failure(stranger.source, { name: 'office' })).toMatchObject({
      code: 'token',
      message: expect.stringMatching(/CERT|VERIFY/),
    });

    running.rotate(await certificates.issue('next'));
    await rewrite();
    expect(await user(source.find({ name: 'office' }))).toBe('robot@example');
  });
});

it('says what a binding or a reference lacks, and quotes no secret', async () => {
  const running = await simulator({ accounts: { provider: { subaccount: { destinations: [MAIL] } } } });
  const { source } = await service(running);
  expect(await failure(source, { name: 'office', instance: 'other' })).toMatchObject({
    code: 'unknown_destination',
    message: expect.stringContaining('other'),
  });
  const wrong = await failure(source, { name: 'office' });
  expect(wrong).toMatchObject({ code: 'unknown_destination', message: expect.stringContaining('Authentication') });
  expect(inspect(wrong, { depth: 10, showHidden: true })).not.toContain(running.binding.clientsecret);
});
