import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { reached } from '../../../sidecar-auth/kubernetes/network-check/reached.ts';

let server: Server;
beforeAll(async () => {
  server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => server.close());

const portOf = () => (server.address() as AddressInfo).port;

it('reaches who accepts, and nobody else', async () => {
  expect(await reached(['127.0.0.1', '127.0.0.2'], portOf())).toEqual(['127.0.0.1']);
});

it('takes silence for a closed door', async () => {
  // RFC 5737 section 3: an address that no network routes; whether packets vanish or are refused, nobody is reached
  expect(await reached(['192.0.2.1'], portOf(), 100)).toEqual([]);
});
