import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Address } from '../../../sidecar-auth/config/address.ts';
import type { Listener } from '../../../sidecar-auth/config/listener.ts';
import { addressHash, entries, protocols, protocolsOf } from '../../../sidecar-auth/listeners/id.ts';
import { Publisher } from '../../../sidecar-auth/listeners/publish.ts';
import type { Entry } from '../../../sidecar-auth/route/table.ts';
import { FILE, load, MAIL, tempFolder } from './files.ts';

/** Listens on a free port, or on `path`, and closes after the test. */
async function occupied(path?: string): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await new Promise<void>((done) =>
    server.listen(path === undefined ? { host: '127.0.0.1', port: 0 } : { path }, done),
  );
  onTestFinished(() => void server.close());
  const address = server.address();
  return { server, port: typeof address === 'object' ? (address?.port ?? 0) : 0 };
}

async function free(): Promise<number> {
  const { server, port } = await occupied();
  await new Promise((done) => server.close(done));
  return port;
}

function entry(address: Address, more: Partial<Listener> = {}): Entry {
  const listener = { destination: 'd', address, maxConnections: 1, maxConnectionsSet: false, ...more };
  return { listenerId: `smtp:${addressHash(address)}`, listener, protocol: 'smtp', loginTimeout: 30 };
}

function publisher(held: string[] = []) {
  const listenersFile = join(tempFolder(), 'listeners.json');
  const log = { info: vi.fn(), error: vi.fn() };
  const it = new Publisher({ listenersFile, filterFile: '/filter.wasm', log }, held);
  onTestFinished(() => it.close());
  return { it, log, listenersFile, ids: () => [...protocolsOf(readFileSync(listenersFile, 'utf8')).keys()] };
}

it('writes free addresses, and only when something changed', async () => {
  const { it, listenersFile, ids } = publisher();
  const one = entry({ host: '127.0.0.1', port: await free() });
  const two = entry({ path: join(tempFolder(), 'a.sock'), mode: 0o660 });
  await it.publish([one]);
  expect(ids()).toEqual([addressHash(one.listener.address)]);
  const { ino } = statSync(listenersFile);
  await it.publish([{ ...one, loginTimeout: 1, listener: { ...one.listener, destination: 'e' } }]);
  expect(statSync(listenersFile).ino).toBe(ino);
  await it.publish([one, two]);
  expect(ids()).toHaveLength(2);
  expect(statSync(listenersFile).ino).not.toBe(ino);
  await it.publish([]);
  expect(ids()).toEqual([]);
});

it('even balance only where the user set a limit', async () => {
  const { it, listenersFile } = publisher();
  const address = { host: '127.0.0.1', port: await free() };
  await it.publish([entry(address)]);
  expect(readFileSync(listenersFile, 'utf8')).not.toContain('exact_balance');
  await it.publish([entry(address, { maxConnectionsSet: true })]);
  expect(readFileSync(listenersFile, 'utf8')).toContain('exact_balance');
});

it('leaves out an address that is taken, until it is free', async () => {
  const { it, log, ids } = publisher();
  const { server, port } = await occupied();
  const taken = entry({ host: '127.0.0.1', port });
  const other = entry({ host: '127.0.0.1', port: await free() });
  await it.publish([taken, other]);
  expect(ids()).toEqual([addressHash(other.listener.address)]);
  expect(log.error).toHaveBeenCalledOnce();
  await it.publish([taken, other]);
  expect(log.error).toHaveBeenCalledOnce();
  server.close();
  await vi.waitFor(() => expect(ids()).toHaveLength(2), { timeout: 5000, interval: 20 });
  expect(log.info).toHaveBeenCalledOnce();
});

it('does not ask about addresses that Envoy has open', async () => {
  const { port } = await occupied();
  const address = { host: '127.0.0.1', port };
  const { it, ids } = publisher([addressHash(address)]);
  await it.publish([entry(address)]);
  expect(ids()).toHaveLength(1);
});

it('an id depends on address and protocol, on nothing else', () => {
  const ids = (destination: object, listener: object = {}) => {
    const listeners = [{ ...FILE.listeners[0], ...listener }];
    const config = load({
      'postern.yaml': { ...FILE, listeners },
      'destinations/mail.json': { ...MAIL, ...destination },
    });
    return entries(config, protocols(config, new Map())).map(({ listenerId }) => listenerId);
  };
  const [id] = ids({});
  expect(id).toMatch(/^smtp:[0-9a-f]{16}$/);
  expect(
    ids({ 'mail.password': 'x', 'mail.smtps.host': 'y' }, { app: { user: 'a', password: 'b' }, maxConnections: 3 }),
  ).toEqual([id]);
  expect(ids({}, { address: '127.0.0.1:1588' })).not.toEqual([id]);
  expect(ids({ 'mail.transport.protocol': 'pop3s', 'mail.pop3s.host': 'y' })).toEqual([id?.replace('smtp', 'pop3')]);
});

it('a listener whose destination is gone keeps its protocol; one that never had one is not opened', () => {
  const config = load();
  const gone = { ...config, destinations: new Map() };
  const spoken = protocols(gone, protocols(config, new Map()));
  expect(entries(gone, spoken)).toEqual([expect.objectContaining({ protocol: 'smtp' })]);
  expect(entries(gone, spoken)[0]).not.toHaveProperty('destination');
  expect(entries(gone, protocols(gone, new Map()))).toEqual([]);
  expect(protocols({ ...gone, listeners: [] }, spoken).size).toBe(0);
});

/** Envoy closes a listener's socket and leaves its file behind; Node's server would remove it. */
async function leave(server: Server, path: string): Promise<void> {
  renameSync(path, `${path}.left`);
  await new Promise((done) => server.close(done));
  renameSync(`${path}.left`, path);
}

it('removes the socket file of a listener that is gone, once nobody answers on it', async () => {
  const { it } = publisher();
  const path = join(tempFolder(), 'a.sock');
  await it.publish([entry({ path, mode: 0o660 })]);
  const { server } = await occupied(path);
  const asked = new Promise<void>((resolve) => server.on('connection', (socket) => socket.destroy() && resolve()));
  await it.publish([]);
  await asked;
  expect(existsSync(path)).toBe(true);
  await leave(server, path);
  await vi.waitFor(() => expect(existsSync(path)).toBe(false), { timeout: 3000, interval: 20 });
});

it('leaves alone what is no socket, and the socket of a listener that came back', async () => {
  const { it } = publisher();
  const folder = tempFolder();
  const [gone, file, back] = ['gone', 'file', 'back'].map((name) => ({ path: join(folder, name), mode: 0o600 }));
  if (!gone || !file || !back) throw new Error('three paths');
  await it.publish([gone, file, back].map((address) => entry(address)));
  for (const { path } of [gone, back]) await leave((await occupied(path)).server, path);
  writeFileSync(file.path, 'mine');
  await it.publish([]);
  await it.publish([entry(back)]);
  await vi.waitFor(() => expect(existsSync(gone.path)).toBe(false), { timeout: 3000, interval: 20 });
  expect([existsSync(file.path), existsSync(back.path)]).toEqual([true, true]);
});
