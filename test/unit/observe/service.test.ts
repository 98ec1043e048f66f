// sidecar-auth as a whole, without Envoy: what its pages say.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { decodeLines, encodeLines, type Line } from '../../../sidecar-auth/contract/lines.ts';
import { type Service, type ServiceOptions, startService } from '../../../sidecar-auth/service.ts';
import { configFolder, FILE, MAIL, mistakesOf, replaceFile, tempFolder } from '../sidecar-auth/files.ts';
import { readOpenMetrics, valuesOf } from './check.ts';
import { FakeAdmin, healthy } from './fake-admin.ts';

const DESTINATION = { ...MAIL, 'mail.smtps.host': '192.0.2.1' };
const UNKNOWN = { ...MAIL, Name: 'unknown', 'mail.smtps.host': 'no.such.host.invalid' };

interface World {
  observe: number;
  listener: number;
  folder: string;
  runDir: string;
  log: () => string;
  service: Service;
}

async function freePort(): Promise<number> {
  const server = await listening();
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

async function listening(port = 0): Promise<Server> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function world(options: Partial<ServiceOptions> = {}, more: object = {}): Promise<World> {
  const [observe, listener] = [await freePort(), await freePort()];
  const file = {
    ...FILE,
    listeners: [
      { destination: 'office-mail', address: `127.0.0.1:${listener}`, app: { user: 'crm', password: 'geheim-2' } },
    ],
    observe: `127.0.0.1:${observe}`,
    ...more,
  };
  const folder = configFolder({
    'postern.yaml': file,
    'destinations/mail.json': DESTINATION,
    'destinations/u.json': UNKNOWN,
  });
  const runDir = tempFolder();
  writeFileSync(join(runDir, 'ca.pem'), '');
  const output = new PassThrough();
  let log = '';
  output.on('data', (chunk) => {
    log += chunk;
  });
  const configFile = join(folder, 'postern.yaml');
  const service = await startService({
    configFile,
    runDir,
    filterFile: '/f.wasm',
    workers: 1,
    log: pino(output),
    ...options,
  });
  onTestFinished(() => service.close());
  return { observe, listener, folder, runDir, log: () => log, service };
}

async function get(port: number, path: string, method = 'GET') {
  const [response] = await once(request({ host: '127.0.0.1', port, path, method, agent: false }).end(), 'response');
  return { status: response.statusCode, type: response.headers['content-type'], body: await text(response) };
}

async function metrics({ observe }: World) {
  return readOpenMetrics((await get(observe, '/metrics')).body);
}

async function ask(runDir: string, path: string, body: Line[]): Promise<Map<string, string[]>> {
  const asked = request({ socketPath: join(runDir, 'helper.sock'), method: 'POST', path, agent: false });
  const [response] = await once(asked.end(encodeLines(body)), 'response');
  return decodeLines(await text(response)) ?? new Map();
}

const idOf = (world: World) => /smtp:[0-9a-f]{16}/.exec(JSON.stringify(listenersFile(world)))?.[0] ?? '';
const listenersFile = ({ runDir }: World) => readFileSync(join(runDir, 'listeners.json'), 'utf8');

it('alive and ready, until it drains', async () => {
  const { observe, service } = await world();
  expect(await get(observe, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await get(observe, '/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
  service.drain();
  expect(await get(observe, '/readyz?verbose')).toMatchObject({ status: 503, body: 'not ready: it is draining\n' });
  expect(await get(observe, '/healthz')).toMatchObject({ status: 200 });
});

it('with an Envoy of its own it is ready when that is', async () => {
  const admin = await FakeAdmin.start({});
  const { observe, listener } = await world({ adminSocket: admin.socket });
  admin.answers = { '/ready': [503, 'PRE_INITIALIZING\n'] };
  expect(await get(observe, '/readyz')).toMatchObject({
    status: 503,
    body: 'not ready: Envoy answers 503 to /ready\n',
  });
  admin.answers = healthy('another');
  expect((await get(observe, '/readyz')).body).toBe(`not ready: Envoy has not opened 127.0.0.1:${listener}\n`);
  admin.answers = healthy(`127.0.0.1:${listener}`);
  expect(await get(observe, '/readyz')).toMatchObject({ status: 200 });
  expect((await get(observe, '/metrics')).body).toContain('\npostern_envoy_up 1\n');
});

it('counts questions, exchanges and rejections by listener, and holds no secret', async () => {
  const it = await world();
  const [id, labels] = [
    idOf(it),
    { destination: 'office-mail', protocol: 'smtp', listener: `127.0.0.1:${it.listener}` },
  ];
  const route = (await ask(it.runDir, '/v1/sessions', [['listener', id]])).get('route')?.[0] ?? '';
  await ask(it.runDir, '/v1/sessions', [['listener', id]]);
  await ask(it.runDir, '/v1/sessions', [['listener', 'smtp:ffff']]);
  const app: Line[] = [
    ['user', 'ada@example.org'],
    ['token', 'refresh-geheim-3'],
  ];
  await ask(it.runDir, '/v1/exchanges', [['route', route], ...app]);
  await ask(it.runDir, '/v1/exchanges', [['route', 'smtp-old'], ...app]);
  await ask(it.runDir, '/v1/rejections', [
    ['route', route],
    ['failure', 'rejected'],
    ['text', 'no'],
  ]);
  const { type, body } = await get(it.observe, '/metrics');
  expect(type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  expect(body).not.toMatch(/geheim|jane|crm|ada|refresh-/);
  const read = readOpenMetrics(body);
  expect(valuesOf(read, 'postern_questions')).toEqual([
    [{ ...labels, outcome: 'ok' }, 2],
    [{ outcome: 'unknown_destination' }, 1],
  ]);
  expect(valuesOf(read, 'postern_exchanges')).toEqual([
    [{ ...labels, outcome: 'rejected' }, 1],
    [{ outcome: 'superseded' }, 1],
  ]);
  expect(valuesOf(read, 'postern_rejections')).toEqual([[{ ...labels, outcome: 'nothing_newer' }, 1]]);
  expect(read.get('postern_envoy_up')).toBeUndefined();
});

it('follows the configuration: destinations that are gone, mistakes, and the log level', async () => {
  const it = await world();
  await ask(it.runDir, '/v1/sessions', [['listener', idOf(it)]]);
  const listeners = [{ destination: 'unknown', address: `127.0.0.1:${it.listener}` }];
  const observe = `127.0.0.1:${it.observe}`;
  replaceFile(it.folder, 'postern.yaml', { ...FILE, listeners, observe, log: { level: 'error' } });
  await expect
    .poll(async () => (await ask(it.runDir, '/v1/sessions', [['listener', idOf(it)]])).get('failure'))
    .toEqual(['resolve']);
  const questions = valuesOf(await metrics(it), 'postern_questions') ?? [];
  expect(questions.filter(([{ destination }]) => destination === 'office-mail')).toEqual([]);
  expect(questions.find(([{ outcome }]) => outcome === 'resolve')?.[0]).toMatchObject({ destination: 'unknown' });
  const before = it.log();
  replaceFile(it.folder, 'postern.yaml', { ...FILE, listeners, observe: '127.0.0.1:1', log: { level: 'error' } });
  replaceFile(it.folder, 'destinations/u.json', { ...UNKNOWN, ProxyType: 'Sideways' });
  await expect.poll(async () => valuesOf(await metrics(it), 'postern_configuration_mistakes')).toEqual([[{}, 1]]);
  // Only the mistake: neither that observe needs a restart (warn), nor that the rest stays as it was (warn).
  const lines = it.log().slice(before.length).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).level)).toEqual([50]);
});

it('an address that is taken does not stop mail; it is served as soon as it is free', async () => {
  const other = await listening();
  const { port } = other.address() as AddressInfo;
  const it = await world({ observe: { host: '127.0.0.1', port } });
  expect((await ask(it.runDir, '/v1/sessions', [['listener', idOf(it)]])).get('to')).toEqual(['direct']);
  expect(it.log()).toContain('this address cannot be used');
  await new Promise((done) => other.close(done));
  await expect
    .poll(async () => (await get(port, '/readyz').catch(() => undefined))?.status, { timeout: 5_000 })
    .toBe(200);
});

it('a program around it adds reasons and pages', async () => {
  let reasons = ['the resources are not known yet'];
  const pages = { '/drain': async () => ({ status: 403, body: 'no\n' }) };
  const { observe } = await world({ more: { notReady: () => reasons, pages } });
  expect((await get(observe, '/readyz')).body).toBe('not ready: the resources are not known yet\n');
  reasons = [];
  expect((await get(observe, '/readyz')).status).toBe(200);
  expect(await get(observe, '/drain')).toMatchObject({ status: 403, body: 'no\n' });
});

it('nothing else is served', async () => {
  const { observe } = await world();
  expect(await get(observe, '/')).toMatchObject({ status: 404 });
  expect(await get(observe, '/v1/status')).toMatchObject({ status: 404 });
  expect(await get(observe, '/metrics', 'POST')).toMatchObject({ status: 405 });
  expect(await get(observe, '/metrics', 'HEAD')).toMatchObject({ status: 200, body: '' });
});

it('FILE says what is wrong with observe and log', () => {
  const found = mistakesOf({ 'postern.yaml': { ...FILE, observe: 'localhost:9494', log: { level: 'loud', to: 'x' } } });
  expect(found).toEqual([
    'postern.yaml observe: must be IP:PORT or [IPv6]:PORT, for example 127.0.0.1:9494',
    'postern.yaml log.level: must be one of error, warn, info, debug, trace',
    'postern.yaml log.to: is not known here; allowed are level',
  ]);
});
