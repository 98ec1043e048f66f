import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { decodeLines, encodeLines, type Line } from '../../sidecar-auth/contract/lines.ts';
import {
  configFolder,
  FILE,
  type Files,
  MAIL,
  replaceFile,
  tempFolder,
  writeFiles,
} from '../unit/sidecar-auth/files.ts';

const MAIN = join(import.meta.dirname, '../../sidecar-auth/main.ts');
const PLANT = {
  ...MAIL,
  Name: 'plant',
  ProxyType: 'OnPremise',
  'mail.transport.protocol': 'pop3',
  'mail.pop3.host': 'virtual',
};
const LITERAL = { ...MAIL, 'mail.smtps.host': '192.0.2.1' };

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** sidecar-auth as `postern up` starts it. */
class Helper {
  readonly folder: string;
  readonly runDir: string;
  child!: ChildProcess;
  log = '';

  constructor(folder: string, runDir = tempFolder()) {
    this.folder = folder;
    this.runDir = runDir;
    writeFileSync(join(runDir, 'ca.pem'), '');
  }

  async start(): Promise<this> {
    const args = [
      '--config',
      join(this.folder, 'postern.yaml'),
      '--run-dir',
      this.runDir,
      '--filter',
      '/f.wasm',
      '--workers',
      '4',
    ];
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.child.stderr?.on('data', (chunk) => {
      this.log += chunk;
    });
    onTestFinished(() => void this.child.kill('SIGKILL'));
    await Promise.race([once(this.child, 'message'), once(this.child, 'exit')]);
    return this;
  }

  get socket(): string {
    return join(this.runDir, 'helper.sock');
  }

  get ids(): string[] {
    const listeners = readFileSync(join(this.runDir, 'listeners.json'), 'utf8');
    return [...listeners.matchAll(/"((?:smtp|imap|pop3):[0-9a-f]{16})"/g)].map(([, id]) => id ?? '');
  }

  async ask(method: string, path: string, body: Line[] | string = '', agent?: Agent) {
    return ask(this.socket, method, path, typeof body === 'string' ? body : encodeLines(body), agent);
  }

  async session(id = this.ids[0] ?? ''): Promise<Record<string, string | undefined>> {
    const { body } = await this.ask('POST', '/v1/sessions', [['listener', id]]);
    return Object.fromEntries([...(decodeLines(body) ?? [])].map(([key, [value]]) => [key, value]));
  }

  async changes(since: string): Promise<Map<string, string[]>> {
    const { body } = await this.ask('GET', `/v1/changes?since=${since}`);
    return decodeLines(body) ?? new Map();
  }

  async status(): Promise<{ sessions: Record<string, number>; polls: number; unknownListeners: number }> {
    return JSON.parse((await this.ask('GET', '/v1/status')).body);
  }
}

async function ask(socketPath: string, method: string, path: string, body: string | Buffer, agent?: Agent) {
  const outgoing = request({ socketPath, method, path, agent: agent ?? false });
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  const { statusCode, headers } = response as { statusCode: number; headers: IncomingHttpHeaders };
  return { status: statusCode, headers, body: await text(response) };
}

async function helper(files: Files = { 'destinations/mail.json': LITERAL }, listener: object = {}): Promise<Helper> {
  const listeners = [{ destination: 'office-mail', address: `127.0.0.1:${await freePort()}`, ...listener }];
  return new Helper(configFolder({ 'postern.yaml': { ...FILE, listeners }, ...files })).start();
}

it('answers a session exactly as written, secrets in the body only', async () => {
  const it = await helper();
  const { status, headers, body } = await it.ask('POST', '/v1/sessions', [['listener', it.ids[0] ?? '']]);
  expect(status).toBe(200);
  expect(JSON.stringify(headers)).not.toContain('geheim');
  expect(decodeLines(body)).toEqual(
    new Map([
      ['to', ['direct']],
      ['address', ['192.0.2.1:465']],
      ['san', ['192.0.2.1']],
      ['keep', ['120']],
      ['route', [expect.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)]],
      ['destination', ['office-mail']],
      ['login', ['basic']],
      ['user', ['jane']],
      ['password', ['geheim-1']],
      ['plain', ['\0jane\0geheim-1']],
      ['hello', [expect.any(String)]],
      ['deadline', ['30000']],
      ['limit', ['2500']],
      ['since', [expect.stringMatching(/^[0-9a-z]{8,32}\.0$/)]],
    ]),
  );
});

it('an unknown listener is a failure with status 200', async () => {
  const it = await helper();
  expect(await it.session('smtp:other')).toEqual({ failure: 'unknown_destination', text: expect.any(String) });
  expect(await it.status()).toMatchObject({ unknownListeners: 1, sessions: {} });
});

it('a name that can not be resolved is a failure', async () => {
  const it = await helper({ 'destinations/mail.json': { ...MAIL, 'mail.smtps.host': 'no-such-host.invalid' } });
  expect(await it.session()).toEqual({
    failure: 'resolve',
    text: expect.stringContaining('no-such-host.invalid'),
    destination: 'office-mail',
  });
});

it('counts sessions by listener, and shows no secret', async () => {
  const it = await helper();
  const id = it.ids[0] ?? '';
  await it.session();
  await it.session();
  const status = await it.status();
  expect(status.sessions).toEqual({ [id]: 2 });
  expect(JSON.stringify(status)).not.toMatch(/geheim|jane/);
});

it('says that a server is not verified: in the log at load and at a change, and in the status', async () => {
  const trusting = { ...LITERAL, 'mail.smtps.ssl.trust': '*' };
  const it = await helper({ 'destinations/mail.json': trusting });
  const said = () => it.log.split('\n').filter((line) => line.includes('ssl.trust')).length;
  const verified = async () => JSON.parse((await it.ask('GET', '/v1/status')).body).listeners[0].verified;
  await vi.waitFor(() => expect(said()).toBe(1));
  expect(await verified()).toBe(false);
  replaceFile(it.folder, 'destinations/mail.json', LITERAL);
  await vi.waitFor(async () => expect(await verified()).toBeUndefined(), 5_000);
  expect(said()).toBe(1);
  replaceFile(it.folder, 'destinations/mail.json', trusting);
  await vi.waitFor(async () => expect(await verified()).toBe(false), 5_000);
  await vi.waitFor(() => expect(said()).toBe(2));
});

it.each([
  ['no body', ''],
  ['no line', 'listener'],
  ['two listeners', 'listener: YQ==\nlistener: YQ==\n'],
  ['bad base64', 'listener: YQ\n'],
  ['another key', 'route: YQ==\n'],
])('400 for %s', async (_, body) => {
  const it = await helper();
  expect((await it.ask('POST', '/v1/sessions', body)).status).toBe(400);
  expect(
    (await it.ask('POST', '/v1/sessions', `${encodeLines([['listener', it.ids[0] ?? '']])}other: YQ==\n`)).status,
  ).toBe(200);
});

it('404 for unknown paths and other methods', async () => {
  const it = await helper();
  for (const [method, path] of [
    ['GET', '/v1/sessions'],
    ['POST', '/v2/sessions'],
    ['GET', '//'],
    ['GET', '/'],
  ] as const) {
    expect((await it.ask(method, path)).status).toBe(404);
  }
});

it.each([
  [
    'no user',
    [
      ['route', 'smtp-x'],
      ['token', 't'],
    ],
    400,
  ],
  [
    'no token',
    [
      ['route', 'smtp-x'],
      ['user', 'u'],
    ],
    400,
  ],
  [
    'an empty token',
    [
      ['route', 'smtp-x'],
      ['user', 'u'],
      ['token', ''],
    ],
    400,
  ],
  [
    'a token of more than 16 KiB',
    [
      ['route', 'smtp-x'],
      ['user', 'u'],
      ['token', 't'.repeat(16_385)],
    ],
    400,
  ],
  [
    'a user of more than 1 KiB',
    [
      ['route', 'smtp-x'],
      ['user', 'u'.repeat(1025)],
      ['token', 't'],
    ],
    400,
  ],
  [
    'an unknown route',
    [
      ['route', 'smtp-x'],
      ['user', 'u'],
      ['token', 't'.repeat(16_384)],
    ],
    409,
  ],
] as [string, Line[], number][])('an exchange with %s', async (_, lines, status) => {
  const it = await helper();
  expect((await it.ask('POST', '/v1/exchanges', lines)).status).toBe(status);
});

it('takes 64 KiB and refuses an octet more', async () => {
  const it = await helper();
  const start = encodeLines([['listener', it.ids[0] ?? '']]);
  const rest = 64 * 1024 - start.length - 'p: \n'.length;
  const key = 'p'.repeat(1 + (rest % 4));
  const whole = `${start}${key}: ${'AAAA'.repeat(Math.floor(rest / 4))}\n`;
  expect(whole.length).toBe(64 * 1024);
  expect((await it.ask('POST', '/v1/sessions', whole)).status).toBe(200);
  expect((await it.ask('POST', '/v1/sessions', `p${whole}`)).status).toBe(413);
});

it('sockets have mode 0600, and a socket left behind is replaced', async () => {
  const it = await helper();
  const mode = (name: string) => statSync(join(it.runDir, name)).mode & 0o777;
  expect([mode('helper.sock'), mode('relay.sock')]).toEqual([0o600, 0o600]);
  it.child.kill('SIGKILL');
  await once(it.child, 'exit');
  expect(statSync(it.socket).isSocket()).toBe(true);
  await it.start();
  expect((await it.session()).failure).toBeUndefined();
});

it('does not take the socket of one that lives', async () => {
  const first = await helper();
  const second = await new Helper(first.folder, first.runDir).start();
  expect(second.child.exitCode).toBe(1);
  expect((await first.session()).failure).toBeUndefined();
});

it('a changed password: pushed within a second, another route id, the old one refused', async () => {
  const it = await helper();
  const before = await it.session();
  const first = await it.changes('0.0');
  expect(first.get('all')).toEqual(['1']);
  const poll = it.changes(first.get('since')?.[0] ?? '');
  await vi.waitFor(async () => expect((await it.status()).polls).toBe(1));
  const start = performance.now();
  replaceFile(it.folder, 'destinations/mail.json', { ...LITERAL, 'mail.password': 'geheim-2' });
  expect((await poll).get('listener')).toEqual(it.ids);
  expect(performance.now() - start).toBeLessThan(1000);
  const after = await it.session();
  expect(after.password).toBe('geheim-2');
  expect(after.route).not.toBe(before.route);
  const rejected = async (route = '') =>
    (
      await it.ask('POST', '/v1/rejections', [
        ['route', route],
        ['failure', 'rejected'],
        ['text', 'no'],
      ])
    ).status;
  expect(await rejected(before.route)).toBe(409);
  expect(await rejected(after.route)).toBe(200);
  expect((await it.session()).route).toBe(after.route);
  expect(it.log).not.toMatch(/geheim/);
});

it('a rejection looks at the files first: the next session has the new password', async () => {
  const it = await helper();
  const { route = '' } = await it.session();
  replaceFile(it.folder, 'destinations/mail.json', { ...LITERAL, 'mail.password': 'geheim-2' });
  const { status } = await it.ask('POST', '/v1/rejections', [['route', route]]);
  expect([200, 409]).toContain(status);
  expect((await it.session()).password).toBe('geheim-2');
});

it('a deleted destination: its listener stays and says so, also after a restart', async () => {
  const it = await helper();
  const { since } = Object.fromEntries(await it.changes('0.0'));
  rmSync(join(it.folder, 'destinations/mail.json'));
  expect((await it.changes(since?.[0] ?? '')).get('listener')).toEqual(it.ids);
  const gone = { failure: 'unknown_destination', text: expect.any(String), destination: 'office-mail' };
  expect(it.ids).toHaveLength(1);
  expect(await it.session()).toEqual(gone);
  it.child.kill('SIGKILL');
  await once(it.child, 'exit');
  await it.start();
  expect(await it.session()).toEqual(gone);
  writeFiles(it.folder, { 'destinations/mail.json': LITERAL });
  await vi.waitFor(async () => expect((await it.session()).route).toBeDefined(), { timeout: 1000, interval: 20 });
});

it('a broken FILE, and a password file that is gone, do not keep a restart down', async () => {
  const app = { user: 'crm', passwordFile: './pw' };
  const it = await helper({ 'destinations/mail.json': LITERAL, pw: 'geheim-app' }, { app });
  const [ids, before] = [it.ids, await it.session()];
  expect(before['app-password'] ?? JSON.stringify(before)).toContain('geheim-app');
  expect(statSync(join(it.runDir, 'last-good.json')).mode & 0o777).toBe(0o600);
  const restart = async () => {
    it.child.kill('SIGKILL');
    await once(it.child, 'exit');
    await it.start();
  };
  const good = readFileSync(join(it.folder, 'postern.yaml'), 'utf8');
  for (const spoil of [() => replaceFile(it.folder, 'postern.yaml', '{'), () => rmSync(join(it.folder, 'pw'))]) {
    spoil();
    await restart();
    expect(it.child.exitCode).toBeNull();
    expect(it.ids).toEqual(ids);
    expect({ ...(await it.session()), since: '', route: '' }).toEqual({ ...before, since: '', route: '' });
    replaceFile(it.folder, 'postern.yaml', good);
  }
  expect(it.log).toContain('its last good version is used');
  expect(it.log).not.toContain('geheim');
  writeFiles(it.folder, { pw: 'geheim-neu' });
  await vi.waitFor(async () => expect(JSON.stringify(await it.session())).toContain('geheim-neu'), { timeout: 2000 });
});

it('a restart: another BOOT, and addresses that Envoy holds stay', async () => {
  const it = await helper();
  const ids = it.ids;
  const { since } = Object.fromEntries(await it.changes('0.0'));
  it.child.kill('SIGKILL');
  await once(it.child, 'exit');
  const [, listener] =
    /"address": ?"127.0.0.1:(\d+)"/.exec(readFileSync(join(it.folder, 'postern.yaml'), 'utf8')) ?? [];
  const envoy = createServer().listen(Number(listener), '127.0.0.1');
  await once(envoy, 'listening');
  onTestFinished(() => void envoy.close());
  await it.start();
  expect(it.ids).toEqual(ids);
  expect((await it.changes(since?.[0] ?? '')).get('all')).toEqual(['1']);
});

it('on-premise leads to the relay, which knows the route while it is current', async () => {
  const connectivity = { host: '127.0.0.1', port: await freePort(), token: 'none' };
  const listeners = [{ destination: 'plant', address: `127.0.0.1:${await freePort()}` }];
  const it = await helper({ 'postern.yaml': { ...FILE, connectivity, listeners }, 'destinations/plant.json': PLANT });
  const session = await it.session();
  expect(session).toMatchObject({ to: 'relay', keep: '120', login: 'basic' });
  expect(session.address).toBeUndefined();
  // The proxy's port is closed: the failure names the destination, so the route was known.
  expect(await relayed(it, session.route ?? '')).toMatch(/^-ERR \[SYS\/TEMP\] postern: plant: /);
  expect(await relayed(it, 'other')).toContain('internal');
});

/** What the relay says first to a connection with this route id. */
async function relayed(it: Helper, route: string): Promise<string> {
  const tlv = Buffer.concat([Buffer.from([0xe0, 0, route.length]), Buffer.from(route)]);
  const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
  const socket = connect(join(it.runDir, 'relay.sock'));
  socket.write(Buffer.concat([signature, Buffer.from([0x21, 0x11, 0, 12 + tlv.length]), Buffer.alloc(12), tlv]));
  return text(socket);
}

it('a new listener is written within a second, one on a taken address is not', async () => {
  const it = await helper();
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => void taken.close());
  const at = taken.address();
  const port = typeof at === 'object' ? at?.port : 0;
  const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${port}`];
  replaceFile(it.folder, 'postern.yaml', {
    ...FILE,
    listeners: addresses.map((address) => ({ destination: 'office-mail', address })),
  });
  await vi.waitFor(() => expect(it.log).toContain('left out'), { timeout: 1000, interval: 20 });
  await vi.waitFor(() => expect(readFileSync(join(it.runDir, 'listeners.json'), 'utf8')).toContain(addresses[0]), {
    timeout: 1000,
  });
  expect(it.ids).toHaveLength(1);
});

it('does not start with mistakes, and logs each', async () => {
  const it = await helper({ 'destinations/mail.json': { ...MAIL, Type: 'HTTP', 'mail.smtps.port': 'geheim' } });
  expect(it.child.exitCode).toBe(1);
  expect(it.log).toContain('"key":"Type"');
  expect(it.log).toContain('"key":"mail.smtps.port"');
  expect(it.log).not.toContain('geheim');
});

it.each(['SIGTERM', 'SIGINT'] as const)(
  '%s ends it at once, with polls waiting, and removes the sockets',
  async (signal) => {
    const it = await helper();
    const { since } = Object.fromEntries(await it.changes('0.0'));
    const poll = it.changes(since?.[0] ?? '').catch(() => 'cut');
    await vi.waitFor(async () => expect((await it.status()).polls).toBe(1));
    it.child.kill(signal);
    expect(await once(it.child, 'exit')).toEqual([0, null]);
    await poll;
    expect(statSync(it.socket, { throwIfNoEntry: false })).toBeUndefined();
  },
);

it('ends when its parent is gone', async () => {
  const it = await helper();
  it.child.disconnect();
  expect(await once(it.child, 'exit')).toEqual([0, null]);
});

it('forgets a poll whose client went away', async () => {
  const it = await helper();
  const { since } = Object.fromEntries(await it.changes('0.0'));
  const outgoing = request({ socketPath: it.socket, path: `/v1/changes?since=${since?.[0]}` });
  outgoing.on('error', () => {});
  outgoing.end();
  await vi.waitFor(async () => expect((await it.status()).polls).toBe(1));
  outgoing.destroy();
  await vi.waitFor(async () => expect((await it.status()).polls).toBe(0));
});

it('keeps an idle connection open longer than Envoy does', async () => {
  const it = await helper();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const first = await it.ask('GET', '/v1/status', '', agent);
  expect(first.headers['keep-alive']).toBeUndefined();
  // Node's own limit would be 5 s; Envoy's is 3 s (envoy/limits.ts).
  await sleep(6000);
  const outgoing = request({ socketPath: it.socket, path: '/v1/status', agent });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  expect([response.statusCode, outgoing.reusedSocket]).toEqual([200, true]);
  response.resume();
});
