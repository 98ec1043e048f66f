import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import type { Listener } from '../../../sidecar-auth/config/listener.ts';
import { Outage } from '../../../sidecar-auth/http.ts';
import { Sources } from '../../../sidecar-auth/route/sources.ts';
import type { Route } from '../../../sidecar-auth/route/table.ts';
import { FILE, load } from '../sidecar-auth/files.ts';
import { BASIC, simulator, temporaryFolder } from './world.ts';

async function world() {
  const running = await simulator({
    accounts: { provider: { subaccount: { destinations: [{ ...BASIC, Name: 'office-mail' }] } } },
  });
  const folder = await temporaryFolder();
  const binding = join(folder, 'binding.json');
  await writeFile(binding, JSON.stringify(running.binding));
  const destinations = { ...FILE.destinations, services: [{ name: 'main', binding }] };
  const config = load({ 'postern.yaml': { ...FILE, destinations, grants: { directory: join(folder, 'grants') } } });
  const logged: string[] = [];
  const log = pino({}, { write: (line) => void logged.push(JSON.parse(line).msg) });
  const [listener] = config.listeners;
  const destination = config.destinations.get('office-mail');
  const route = (service?: Listener['service']) =>
    ({ listener: { ...listener, ...(service && { service }) }, destination }) as Route;
  return { running, sources: await Sources.open(config, '', log), route, logged };
}

it('a destination in a file works while the service has never answered, and the service wins once it does', async () => {
  const { running, sources, route, logged } = await world();
  running.faults.destination = { kind: 'down' };
  expect((await sources.served(route())).destination).toBeUndefined();
  const asked = running.log.length;
  expect((await sources.served(route())).destination).toBeUndefined();
  expect(running.log).toHaveLength(asked);
  expect(logged).toEqual([expect.stringContaining('the file of this name is used')]);
  await expect(sources.served(route({ level: 'subaccount' }))).rejects.toBeInstanceOf(Outage);
  const { destination: _, ...without } = route();
  await expect(sources.served(without)).rejects.toBeInstanceOf(Outage);
  delete running.faults.destination;
  expect((await sources.served(without)).destination?.host).toBe('mail.example');
  expect((await sources.served(route())).destination?.host).toBe('mail.example');
});

it('what the service refuses is not made up for by a file', async () => {
  const { running, sources, route } = await world();
  running.faults.destination = { kind: '401' };
  await expect(sources.served(route())).rejects.toMatchObject({ code: 'unknown_destination', retry: false });
});

it('a listener with source: file never asks the service', async () => {
  const { running, sources, route } = await world();
  const { listener, ...rest } = route();
  expect(await sources.served({ ...rest, listener: { ...listener, source: 'file' } })).toEqual({});
  expect(running.log).toEqual([]);
});
