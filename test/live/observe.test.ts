// Health, readiness and metrics with a real Envoy: what a cluster would see of it.
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { type Read, readOpenMetrics, valuesOf } from '../unit/observe/check.ts';
import { freePorts } from './daemon.ts';

const USER = 'robot-geheim';
const PASSWORD = 'pass-geheim';
const PATIENCE = { timeout: 15_000, interval: 50 };

const folder = mkdtempSync(join(tmpdir(), 'observe-'));
const configFile = join(folder, 'postern.yaml');
const logFile = join(folder, 'log');
let server: Server;
let proxy: ConnectivityProxy;
let running: Running;
let ports: Record<'observe' | 'office' | 'plant', number>;

/** Takes AUTH PLAIN with the one password, and says ok to everything else. */
function smtpServer(): Server {
  return createServer((socket) => {
    socket.on('error', () => {}).write('220 ready\r\n');
    const answer = (line: string) => {
      const [verb = '', , response = ''] = line.split(' ');
      const good = Buffer.from(response, 'base64').toString() === `\0${USER}\0${PASSWORD}`;
      if (verb === 'EHLO') socket.write('250-here\r\n250 AUTH PLAIN\r\n');
      else if (verb === 'AUTH') socket.write(good ? '235 in\r\n' : '535 5.7.8 no\r\n');
      else if (verb === 'QUIT') socket.end('221 bye\r\n');
      else socket.write('250 ok\r\n');
    };
    // Commands come whole.
    socket.setEncoding('latin1').on('data', (text: string) => text.trimEnd().split('\r\n').forEach(answer));
  });
}

function config(more: object = {}): string {
  const listeners = [
    { destination: 'office', address: `127.0.0.1:${ports.office}` },
    { destination: 'office', address: `[::1]:${ports.office}` },
    ...['wrong', 'nobody'].map((destination) => ({ destination, address: join(folder, destination) })),
    { destination: 'plant', address: `127.0.0.1:${ports.plant}` },
  ];
  const connectivity = { host: '127.0.0.1', port: proxy.port, token: 'none' };
  const observe = `127.0.0.1:${ports.observe}`;
  return JSON.stringify({ destinations: { directory: './d' }, connectivity, listeners, observe, ...more });
}

function destination(name: string, more: object): void {
  const content = {
    Name: name,
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': USER,
    'mail.password': PASSWORD,
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': (server.address() as AddressInfo).port,
    'mail.smtp.starttls.enable': false,
    ...more,
  };
  writeFileSync(join(folder, 'd', `${name}.json`), JSON.stringify(content));
}

beforeAll(async () => {
  server = smtpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  proxy = await startConnectivityProxy({
    tokens: 'none',
    locations: [''],
    hosts: { [`mail.virtual:${port}`]: { host: '127.0.0.1', port } },
  });
  const [observe = 0, office = 0, plant = 0] = await freePorts(3);
  ports = { observe, office, plant };
  mkdirSync(join(folder, 'd'));
  destination('office', {});
  destination('wrong', { 'mail.password': 'other-geheim' });
  destination('nobody', { 'mail.smtp.port': 1 });
  destination('plant', { ProxyType: 'OnPremise', 'mail.smtp.host': 'mail.virtual' });
  writeFileSync(configFile, config());
  running = await up({ configFile, workers: 2, logFile });
}, 120_000);

afterAll(async () => {
  await running?.stop();
  await proxy?.close();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A silent app that sends MAIL and QUIT; all that it heard. */
async function session(to: NetConnectOpts): Promise<string> {
  const socket = connect(to);
  const heard = text(socket.setEncoding('latin1'));
  await once(socket, 'data');
  socket.write('MAIL FROM:<app@example.org>\r\nQUIT\r\n');
  return heard;
}

async function get(path: string): Promise<{ status: number; body: string }> {
  const asked = request({ host: '127.0.0.1', port: ports.observe, path, agent: false }).end();
  const [response] = await once(asked, 'response');
  return { status: response.statusCode, body: await text(response) };
}

async function tellEnvoy(path: string): Promise<void> {
  const asked = request({ socketPath: running.adminSocket, method: 'POST', path, agent: false }).end();
  const [response] = await once(asked, 'response');
  await text(response);
}

async function metrics(): Promise<Map<string, Read>> {
  return readOpenMetrics((await get('/metrics')).body);
}

async function values(name: string): Promise<[Record<string, string>, number][]> {
  return valuesOf(await metrics(), name) ?? [];
}

const office = () => ({ destination: 'office', protocol: 'smtp', listener: `127.0.0.1:${ports.office}` });
const plant = () => ({ ...office(), destination: 'plant', listener: `127.0.0.1:${ports.plant}` });
const other = (name: string) => ({ destination: name, protocol: 'smtp', listener: join(folder, name) });

test('ready when postern says so, and alive', async () => {
  expect(await get('/readyz')).toEqual({ status: 200, body: 'ready\n' });
  expect(await get('/healthz')).toEqual({ status: 200, body: 'ok\n' });
});

test('sessions are counted by destination, mechanism and outcome, and no secret is told', async () => {
  await Promise.all([
    session({ host: '127.0.0.1', port: ports.office }),
    session({ host: '127.0.0.1', port: ports.office }),
    session({ host: '::1', port: ports.office }),
    session({ host: '127.0.0.1', port: ports.plant }),
    ...['wrong', 'nobody'].map((name) => session({ path: join(folder, name) })),
  ]);
  await expect.poll(async () => values('tp_open_tcp_connections'), PATIENCE).toEqual([[{}, 0]]);
  const { body } = await get('/metrics');
  expect(body).not.toContain('geheim');
  const read = readOpenMetrics(body);
  const sorted = (name: string) => (valuesOf(read, name) ?? []).map((one) => JSON.stringify(one)).sort();
  const expected = (...all: [object, number][]) => all.map((one) => JSON.stringify(one)).sort();
  const v6 = { ...office(), listener: `[::1]:${ports.office}` };
  expect(sorted('postern_logins')).toEqual(
    expected(
      [{ ...office(), mechanism: 'plain', outcome: 'ok' }, 2],
      [{ ...v6, mechanism: 'plain', outcome: 'ok' }, 1],
      [{ ...other('wrong'), mechanism: 'plain', outcome: 'rejected' }, 1],
      [{ ...other('nobody'), outcome: 'connect' }, 1],
      [{ ...plant(), mechanism: 'plain', outcome: 'ok' }, 1],
    ),
  );
  const one = [other('wrong'), other('nobody'), plant()].map((labels): [object, number] => [labels, 1]);
  expect(sorted('postern_connections')).toEqual(expected([office(), 2], [v6, 1], ...one));
  expect(valuesOf(read, 'tp_tcp_connections')).toEqual([[{}, 6]]);
  expect(valuesOf(read, 'postern_relay_sessions')).toEqual([
    [{ destination: 'plant', protocol: 'smtp', outcome: 'ok' }, 1],
  ]);
  const phases = (valuesOf(read, 'postern_phase_seconds') ?? []).filter(([{ le }]) => le === '+Inf');
  const ofPlant = phases.filter(([labels]) => labels.destination === 'plant').map(([{ phase }]) => phase);
  expect(ofPlant).toEqual(['token', 'connect', 'socks']);
  expect(valuesOf(read, 'postern_rejections')).toEqual([[{ ...other('wrong'), outcome: 'nothing_newer' }, 1]]);
  expect((valuesOf(read, 'postern_vm_memory_bytes') ?? []).length).toBeGreaterThanOrEqual(1);
  // Envoy adds its histograms up every 5 s.
  const connects = async () =>
    (await values('postern_envoy_connect_seconds')).find(
      ([{ cluster, le }]) => cluster === 'postern-direct' && le === '+Inf',
    )?.[1];
  await expect.poll(connects, PATIENCE).toBeGreaterThanOrEqual(4);
});

test('a connection that is open is seen so', async () => {
  const socket = connect(ports.office, '127.0.0.1');
  await once(socket, 'data');
  await expect
    .poll(async () => (await values('postern_open_connections')).filter(([, count]) => count > 0), PATIENCE)
    .toEqual([[office(), 1]]);
  socket.destroy();
  await expect.poll(() => values('tp_open_tcp_connections'), PATIENCE).toEqual([[{}, 0]]);
});

test('not ready while Envoy drains, nor while it is gone; ready again after', async () => {
  await tellEnvoy('/healthcheck/fail');
  expect(await get('/readyz')).toEqual({ status: 503, body: 'not ready: Envoy answers 503 to /ready\n' });
  await tellEnvoy('/healthcheck/ok');
  expect((await get('/readyz')).status).toBe(200);
  await tellEnvoy('/quitquitquit');
  await expect.poll(async () => (await get('/readyz')).status, PATIENCE).toBe(503);
  expect((await get('/healthz')).status).toBe(200);
  await expect.poll(async () => (await get('/readyz')).status, PATIENCE).toBe(200);
  expect(await values('postern_envoy_up')).toEqual([[{}, 1]]);
});

test('the log level changes without a restart', async () => {
  const relayed = () => readFileSync(logFile, 'utf8').includes('relay: connected');
  await session({ host: '127.0.0.1', port: ports.plant });
  expect(relayed()).toBe(false);
  writeFileSync(`${configFile}.new`, config({ log: { level: 'debug' } }));
  renameSync(`${configFile}.new`, configFile);
  await expect
    .poll(async () => {
      await session({ host: '127.0.0.1', port: ports.plant });
      return relayed();
    }, PATIENCE)
    .toBe(true);
});
