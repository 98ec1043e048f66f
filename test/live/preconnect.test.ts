// mail.<protocol>.preconnect: Envoy keeps connections to the server ready, and an app finds the greeting waiting.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { CountingSmtpServer } from './counting-smtp-server.ts';

const servers = [new CountingSmtpServer('one'), new CountingSmtpServer('two')] as const;
const folder = mkdtempSync(join(tmpdir(), 'preconnect-'));
let running: Running | undefined;

function destination(name: string, port: number): object {
  return {
    Name: name,
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': name,
    'mail.password': 'pass',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': port,
    'mail.smtp.starttls.enable': false,
    'mail.smtp.preconnect': true,
  };
}

beforeAll(async () => {
  await Promise.all(servers.map((server) => server.listen()));
  mkdirSync(join(folder, 'd'));
  const ports = { one: servers[0].port, two: servers[1].port, nobody: 1 };
  for (const [name, port] of Object.entries(ports)) {
    writeFileSync(join(folder, 'd', `${name}.json`), JSON.stringify(destination(name, port)));
  }
  const listeners = Object.keys(ports).map((name) => ({ destination: name, address: join(folder, name) }));
  const configFile = join(folder, 'postern.yaml');
  writeFileSync(configFile, JSON.stringify({ destinations: { directory: './d' }, listeners }));
  // With one worker there is one pool per server, and it is known when a connection stands ready in it.
  running = await up({ configFile, workers: 1, logFile: join(folder, 'log') });
}, 120_000);

afterAll(async () => {
  await running?.stop();
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A silent app that sends nothing but MAIL and QUIT; all that it heard. */
async function session(name: string): Promise<string> {
  const socket = connect(join(folder, name));
  let heard = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
    if (heard.endsWith('ready\r\n')) socket.write('MAIL FROM:<app@example.org>\r\n');
    else if (heard.endsWith('250 ok\r\n') && !heard.includes('250 ok\r\n250 ok\r\n')) socket.write('QUIT\r\n');
  });
  await once(socket, 'close');
  return heard;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

const GOOD = (name: string) => `220 ${name} ready\r\n250 ok\r\n250 ok\r\n`;

test('a connection stands ready for the next session, and each server has its own account', async () => {
  for (let round = 0; round < 5; round++) {
    for (const server of servers) {
      expect(await session(server.user)).toBe(GOOD(server.user));
      await until(() => server.waiting > 0);
    }
  }
  for (const { logins, wrong, connections } of servers) {
    expect({ logins, wrong }).toEqual({ logins: 5, wrong: 0 });
    // One for each session and one that stands ready, where nobody was in a hurry.
    expect(connections).toBe(6);
  }
});

test('what the server has closed meanwhile is not handed out', async () => {
  const [server] = servers;
  server.patience = 20;
  await session('one');
  await until(() => server.waiting === 0);
  const before = server.logins;
  for (let round = 0; round < 5; round++) {
    expect(await session('one')).toBe(GOOD('one'));
    await until(() => server.waiting === 0);
  }
  expect(server.logins).toBe(before + 5);
});

test('many at once: each has a connection of its own', async () => {
  const [, server] = servers;
  const before = server.logins;
  const heard = await Promise.all(Array.from({ length: 100 }, () => session('two')));
  expect(new Set(heard)).toEqual(new Set([GOOD('two')]));
  expect(server).toMatchObject({ logins: before + 100, wrong: 0 });
});

test('nobody at the server: the app hears of it', async () => {
  expect(await session('nobody')).toBe('421 4.4.1 postern: nobody: connect: no connection to 127.0.0.1:1\r\n');
});
