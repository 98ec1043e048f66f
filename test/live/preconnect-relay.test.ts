// mail.<protocol>.preconnect where the relay leads to the server: it keeps connections that stand at the login, by STARTTLS and on-premise.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { CountingSmtpServer } from './counting-smtp-server.ts';
import { freePorts } from './daemon.ts';

type Way = 'starttls' | 'onpremise';
const WAYS: Way[] = ['starttls', 'onpremise'];

const folder = mkdtempSync(join(tmpdir(), 'preconnect-'));
let servers: Record<Way, [CountingSmtpServer, CountingSmtpServer]>;
let proxy: ConnectivityProxy | undefined;
let running: Running | undefined;
/** Of the listener of each destination: on-premise ones may have no Unix socket (docs/decisions/0005). */
const ports = new Map<string, number>();

const nameOf = (way: Way, user: string) => `${way}-${user}`;

function writeDestination(way: Way, name: string, { user, port }: { user: string; port: number }): void {
  const properties = {
    Name: name,
    Type: 'MAIL',
    ProxyType: way === 'onpremise' ? 'OnPremise' : 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': user,
    'mail.password': 'pass',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': way === 'onpremise' ? `${user}.virtual` : 'localhost',
    'mail.smtp.port': way === 'onpremise' ? 25 : port,
    'mail.smtp.preconnect': true,
  };
  writeFileSync(join(folder, 'd', `${name}.json`), JSON.stringify(properties));
}

beforeAll(async () => {
  const certificates = await createCertificates(folder);
  const { cert, key } = await certificates.issue('localhost');
  const context = createSecureContext({ cert, key });
  servers = {
    starttls: [new CountingSmtpServer('one', context), new CountingSmtpServer('two', context)],
    onpremise: [new CountingSmtpServer('one'), new CountingSmtpServer('two')],
  };
  await Promise.all(WAYS.flatMap((way) => servers[way].map((server) => server.listen())));
  proxy = await startConnectivityProxy({
    tokens: { accept: (token) => token === 'token' },
    locations: [''],
    hosts: Object.fromEntries(
      servers.onpremise.map(({ user, port }) => [`${user}.virtual:25`, { host: '127.0.0.1', port }]),
    ),
  });
  mkdirSync(join(folder, 'd'));
  for (const way of WAYS) for (const server of servers[way]) writeDestination(way, nameOf(way, server.user), server);
  writeFileSync(join(folder, 'token'), 'token', { mode: 0o600 });
  const names = WAYS.flatMap((way) => servers[way].map(({ user }) => nameOf(way, user)));
  for (const [index, port] of (await freePorts(names.length)).entries()) ports.set(names[index] ?? '', port);
  const listeners = names.map((name) => ({ destination: name, address: `127.0.0.1:${ports.get(name)}`, open: true }));
  const config = {
    destinations: { directory: './d' },
    tls: { additionalCAs: [certificates.caFile] },
    connectivity: { host: '127.0.0.1', port: proxy.port, token: { file: join(folder, 'token') } },
    listeners,
  };
  const configFile = join(folder, 'postern.yaml');
  writeFileSync(configFile, JSON.stringify(config));
  running = await up({ configFile, workers: 2, logFile: join(folder, 'log') });
}, 120_000);

afterAll(async () => {
  await running?.stop();
  await proxy?.close();
  for (const server of Object.values(servers ?? {}).flat()) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A silent app that sends nothing but MAIL and QUIT; all that it heard. */
async function session(name: string): Promise<string> {
  const socket = connect(ports.get(name) ?? 0, '127.0.0.1');
  const commands = ['MAIL FROM:<app@example.org>\r\n', 'QUIT\r\n'];
  let heard = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
    const next = text.endsWith('\r\n') ? commands.shift() : undefined;
    if (next) socket.write(next);
  });
  await once(socket, 'close');
  return heard;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

/** The relay has read what the server sent last: 100 ms are plenty on loopback. */
const settled = () => sleep(100);

/** STARTTLS has used the server's own greeting up. */
function good(way: Way, user: string): string {
  return `${way === 'starttls' ? '220 localhost ESMTP' : `220 ${user} ready`}\r\n250 ok\r\n250 ok\r\n`;
}

describe.each(WAYS)('%s', (way) => {
  test('nobody connects before the first session', async () => {
    await settled();
    expect(servers[way].map(({ connections }) => connections)).toEqual([0, 0]);
  });

  test('a connection stands ready for the next session, and each server has its own account', async () => {
    for (let round = 0; round < 5; round++) {
      for (const server of servers[way]) {
        expect(await session(nameOf(way, server.user))).toBe(good(way, server.user));
        await until(() => server.connections === round + 2 && server.waiting === 1);
        await settled();
      }
    }
    for (const { logins, wrong, connections } of servers[way]) {
      // One for each session and one that stands ready.
      expect({ logins, wrong, connections }).toEqual({ logins: 5, wrong: 0, connections: 6 });
    }
  });

  test('what the server has closed meanwhile is not handed out', async () => {
    const [server] = servers[way];
    const { logins } = server;
    for (const socket of server.sockets) socket.destroy();
    await until(() => server.waiting === 0);
    await settled();
    expect(await session(nameOf(way, 'one'))).toBe(good(way, 'one'));
    await until(() => server.waiting === 1);
    await settled();
    expect(server).toMatchObject({ logins: logins + 1, wrong: 0 });
  });

  test('a server that speaks unasked: nobody hears that, and its connection is closed', async () => {
    const [server] = servers[way];
    const { logins } = server;
    for (const socket of server.sockets) socket.write('235 EVIL\r\n');
    await until(() => server.waiting === 0);
    expect(await session(nameOf(way, 'one'))).toBe(good(way, 'one'));
    await until(() => server.waiting === 1);
    expect(server).toMatchObject({ logins: logins + 1, wrong: 0 });
  });

  test('many at once: each has a connection of its own', async () => {
    const [, server] = servers[way];
    const { logins } = server;
    const heard = await Promise.all(Array.from({ length: 50 }, () => session(nameOf(way, 'two'))));
    expect(new Set(heard)).toEqual(new Set([good(way, 'two')]));
    expect(server).toMatchObject({ logins: logins + 50, wrong: 0 });
  });

  test('a destination that leads elsewhere now: its old connection is closed, and nobody gets there with the new login', async () => {
    const [old, next] = servers[way];
    const name = nameOf(way, 'one');
    await until(() => old.waiting === 1);
    const { logins } = next;
    writeDestination(way, name, next);
    await until(() => old.waiting === 0);
    expect(await session(name)).toBe(good(way, 'two'));
    expect(next).toMatchObject({ logins: logins + 1, wrong: 0 });
    expect(old.wrong).toBe(0);
  });
});
