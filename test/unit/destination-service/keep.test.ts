import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import { createResolve } from '../../../sidecar-auth/route/resolve.ts';
import { Sessions } from '../../../sidecar-auth/route/session.ts';
import { Sources } from '../../../sidecar-auth/route/sources.ts';
import { RouteTable } from '../../../sidecar-auth/route/table.ts';
import { FILE, load } from '../sidecar-auth/files.ts';
import { afterwards, BASIC, simulator, temporaryFolder } from './world.ts';

const ID = 'smtp:0123456789abcdef';

/** Sessions of a destination that only the service has: by the relay, or (a literal with implicit TLS) direct. */
async function world(properties: Record<string, string>) {
  vi.useFakeTimers({ toFake: ['Date'] });
  afterwards(() => vi.useRealTimers());
  const destination: Record<string, string> = { ...BASIC, Name: 'served', ...properties };
  const running = await simulator({ accounts: { provider: { subaccount: { destinations: [destination] } } } });
  const folder = await temporaryFolder();
  const binding = join(folder, 'binding.json');
  await writeFile(binding, JSON.stringify(running.binding));
  const destinations = { ...FILE.destinations, services: [{ name: 'main', binding }] };
  const listeners = [{ destination: 'served', address: '127.0.0.1:1587', protocol: 'smtp' }];
  const config = load({ 'postern.yaml': { destinations, listeners, grants: { directory: join(folder, 'grants') } } });
  const sources = await Sources.open(config, '', pino({ enabled: false }));
  const table = new RouteTable();
  const [listener] = config.listeners;
  if (!listener) return expect.fail('no listener');
  table.update([{ listenerId: ID, listener, protocol: 'smtp', loginTimeout: 30 }]);
  const sessions = new Sessions({
    table,
    resolve: createResolve(),
    workers: 1,
    served: (route) => sources.served(route),
    issuer: (route, found) => sources.issuer(route, found),
    refused: () => {},
    onChange: () => {},
  });
  const answer = async () => Object.fromEntries(await sessions.answer(ID));
  const forward = (seconds: number) => void vi.setSystemTime(Date.now() + seconds * 1000);
  return { running, destination, answer, forward };
}

it.each([
  ['the relay', {}],
  ['an address', { 'mail.transport.protocol': 'smtps', 'mail.smtps.host': '192.0.2.1', 'mail.smtp.host': '192.0.2.1' }],
])('a destination that leads to %s is used for two minutes, whoever keeps it', async (_, properties) => {
  const { destination, answer, forward } = await world(properties);
  const [begin, first] = [Date.now(), await answer()];
  expect([first.user, first.keep]).toEqual(['robot@example', '120']);
  destination['mail.user'] = 'other@example';
  forward(119);
  // Asked by another worker: what it keeps ends with what the helper keeps.
  const { user, keep } = await answer();
  expect(user).toBe('robot@example');
  forward(Number(keep));
  expect(Date.now() - begin).toBeLessThanOrEqual(120_000);
  forward(1);
  expect((await answer()).user).toBe('other@example');
});

it('in an outage it is kept for as long as the outage is believed', async () => {
  const { running, answer, forward } = await world({});
  await answer();
  running.faults.destination = { kind: 'down' };
  forward(121);
  expect(await answer()).toMatchObject({ user: 'robot@example', keep: '10' });
  forward(6);
  expect(await answer()).toMatchObject({ user: 'robot@example', keep: '4' });
});
