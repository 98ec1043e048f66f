import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { banner, type Programs } from '../../../demo/banner.ts';
import { AUTHENTICATIONS } from '../../../demo/places.ts';
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
  expect(config.connectivity).toMatchObject({ port: world.connectivityProxy.port, token: { kind: 'binding' } });
});

test('all nine kinds of destination are there with every authentication', () => {
  const kinds = world.places.map(({ proxyType, protocol, tls, authentication }) => {
    return `${proxyType} ${protocol}${tls ? 's' : ''} ${authentication}`;
  });
  const six = ['smtp', 'smtps', 'imap', 'imaps', 'pop3', 'pop3s'].map((name) => `Internet ${name}`);
  const nine = [...six, 'OnPremise smtp', 'OnPremise imap', 'OnPremise pop3'];
  const all = nine.flatMap((kind) => AUTHENTICATIONS.map((authentication) => `${kind} ${authentication}`));
  expect(kinds.sort()).toEqual(all.sort());
});

test('the destinations in files are valid', () => {
  for (const { destination, authentication } of world.places.filter(({ proxyType }) => proxyType === 'Internet')) {
    const mistakes: Mistake[] = [];
    const read = readDestination(path.join(directory, 'destinations', `${destination}.json`), mistakes, []);
    expect(mistakes).toEqual([]);
    const { kind } = read.destination?.login ?? {};
    expect(kind).toBe(authentication === 'BasicAuthentication' ? 'basic' : 'oauth');
  }
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
  expect(new Set(ports).size).toBe(36);
});

test.each<Programs>([{ client: 'curl', terminal: 'telnet' }, { client: 'python3', terminal: 'nc' }, {}])(
  'the banner for %o fits, shows every port, and holds no password',
  (programs) => {
    const text = banner(world, programs, '/tmp/postern-demo-XXXXXX/postern.log');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    for (const { port } of world.places) expect(text).toMatch(new RegExp(` ${port}\\b`));
    expect(text).not.toContain(world.password);
    expect(text).not.toContain(world.user);
  },
);
