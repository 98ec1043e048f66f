import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { banner, type Client } from '../../../demo/banner.ts';
import { startWorld, type World } from '../../../demo/world.ts';
import { loadConfig } from '../../../sidecar-auth/config/config.ts';
import type { Mistake } from '../../../sidecar-auth/config/mistakes.ts';
import { readDestination } from '../../../sidecar-auth/destination/destination.ts';

let directory: string;
let world: World;
/** Has 1587 before the world looks for it, unless somebody else has. */
let squatter: Server;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'postern-test-'));
  squatter = createServer().listen(1587, '127.0.0.1');
  await new Promise((resolve) => squatter.once('listening', resolve).once('error', resolve));
  world = await startWorld(directory);
});
afterAll(async () => {
  await world.close();
  squatter.close();
  await rm(directory, { recursive: true });
});

test('Postern reads the configuration without a mistake', () => {
  const config = loadConfig(world.configFile);
  expect(config.listeners.map(({ destination }) => destination)).toEqual(
    world.places.map((place) => place.destination),
  );
  expect(config.connectivity).toMatchObject({ port: world.connectivityProxy.port, token: { kind: 'file' } });
});

test('all nine kinds of destination are there, and valid', () => {
  const kinds = world.places.map(({ destination }) => {
    const mistakes: Mistake[] = [];
    const read = readDestination(path.join(directory, 'destinations', `${destination}.json`), mistakes, []);
    expect(mistakes).toEqual([]);
    expect(read.destination?.login).toEqual({ user: world.user, password: world.password });
    const { onPremise, protocol, tls } = read.destination ?? {};
    return `${onPremise ? 'OnPremise' : 'Internet'} ${protocol}${tls ? 's' : ''}`;
  });
  const six = ['smtp', 'smtps', 'imap', 'imaps', 'pop3', 'pop3s'].map((name) => `Internet ${name}`);
  expect(kinds.sort()).toEqual([...six, 'OnPremise smtp', 'OnPremise imap', 'OnPremise pop3'].sort());
});

test('Internet destinations lead to a mail server that greets', async () => {
  for (const { destination } of world.places.filter((place) => place.proxyType === 'Internet' && !place.tls)) {
    const file = path.join(directory, 'destinations', `${destination}.json`);
    const port = readDestination(file, [], []).destination?.port ?? 0;
    const socket = connect({ port, host: '127.0.0.1' });
    const greeting = await new Promise<Buffer>((resolve, reject) => socket.once('data', resolve).once('error', reject));
    socket.destroy();
    expect(greeting.toString()).toMatch(/^(?:220|\* OK|\+OK) /);
  }
});

test('a friendly port that is taken is replaced; ports differ', () => {
  const ports = world.places.map((place) => place.port);
  expect(ports[0]).not.toBe(1587);
  expect(new Set(ports).size).toBe(9);
});

test.each<Client>(['curl', 'python3', undefined])('the banner for %s fits and holds no login', (client) => {
  const text = banner(world, client, '/tmp/postern-demo-XXXXXX/postern.log');
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  for (const { destination, port } of world.places) expect(text).toMatch(new RegExp(`${destination} .*:${port}$`, 'm'));
  expect(text).not.toContain(world.password);
  expect(text).not.toContain(world.user);
});
