import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Address } from '../../../sidecar-auth/config/address.ts';
import { inTheWay } from '../../../sidecar-auth/listeners/in-the-way.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function addressesInTheWay(addresses: Address[]): Promise<string[]> {
  const lines = await Promise.all(addresses.map(inTheWay));
  return lines.filter((line) => line !== undefined);
}

function listening(...where: [number, string] | [string]): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(...(where as [number, string]), () => resolve(server));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

test('a port in use is told, a free one is not', async () => {
  const server = await listening(0, '127.0.0.1');
  const address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  expect(await addressesInTheWay([address])).toEqual([`127.0.0.1:${address.port} is in use by another program`]);
  await closed(server);
  expect(await addressesInTheWay([address])).toEqual([]);
});

test('a port that its owner would share (SO_REUSEPORT, as Envoy does) is in use', async () => {
  const script = `import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()`;
  const python = spawn('python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve) => python.stdout.once('data', (line) => resolve(Number(line))));
  expect(await addressesInTheWay([{ host: '127.0.0.1', port }])).toHaveLength(1);
  python.stdin.end();
});

test("an address of another machine's", async () => {
  expect(await addressesInTheWay([{ host: '192.0.2.1', port: 1587 }])).toEqual([
    '192.0.2.1:1587 is not an address of this machine',
  ]);
});

test('Unix sockets: answered ones are in use, abandoned ones are not, files are left alone', async () => {
  const used = join(folder, 'used.sock');
  const file = join(folder, 'file');
  const server = await listening(used);
  writeFileSync(file, 'precious');
  const paths = [used, file, join(folder, 'free.sock')];
  expect(await addressesInTheWay(paths.map((path) => ({ path, mode: 0o600 })))).toEqual([
    `${used} is in use by another program`,
    `${file} exists and is not a socket`,
  ]);
  await closed(server);
});

test('an abandoned Unix socket', async () => {
  const path = join(folder, 'abandoned.sock');
  const script = `import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])`;
  await new Promise((resolve) => spawn('python3', ['-c', script, path]).once('exit', resolve));
  expect(await addressesInTheWay([{ path, mode: 0o600 }])).toEqual([]);
});
