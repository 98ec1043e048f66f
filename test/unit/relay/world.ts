import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect } from 'vitest';
import { type RelayOptions, startRelay } from '../../../sidecar-auth/relay/relay.ts';
import type { RelayTarget } from '../../../sidecar-auth/relay-target.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function afterwards(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-relay-'));
  afterwards(() => rm(folder, { recursive: true }));
  return folder;
}

/** A TCP server on a free loopback port; its sockets have 'error' listeners and end with the test. */
export async function server(
  onConnection: (socket: Socket) => void,
): Promise<{ host: string; port: number; server: Server }> {
  const listening = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    afterwards(() => socket.destroy());
    onConnection(socket);
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  afterwards(() => listening.close());
  return { host: '127.0.0.1', port: (listening.address() as AddressInfo).port, server: listening };
}

/** A loopback port on which nobody listens. */
export async function deadPort(): Promise<number> {
  const { port, server: listening } = await server(() => {});
  await new Promise((resolve) => listening.close(resolve));
  return port;
}

export function client(to: { path: string } | { host: string; port: number }): Socket {
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.on('error', () => {});
  afterwards(() => socket.destroy());
  return socket;
}

/** Everything until the other side's FIN; rejects on a reset, which must never happen where a line is due. */
export async function untilEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Reads until `length` bytes are there. */
export function bytes(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      if (got.length < length) return;
      socket.pause().off('data', onData).off('end', onEnd);
      if (got.length > length) socket.unshift(got.subarray(length));
      resolve(got.subarray(0, length));
    };
    const onEnd = () => reject(new Error(`the stream ended after ${got.length} of ${length} bytes`));
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
    socket.resume();
  });
}

/** A PROXY v2 header of the TCP4 family with the TLVs given. */
export function proxyHeader(...tlvs: [number, string][]): Buffer {
  const extra = tlvs.map(([type, value]) => tlv(type, value));
  const body = Buffer.concat([Buffer.from('7f0000017f000001c884727f', 'hex'), ...extra]);
  return fixed(0x21, 0x11, body);
}

export function tlv(type: number, value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(Buffer.byteLength(value));
  return Buffer.concat([Buffer.from([type]), length, Buffer.from(value)]);
}

export function fixed(versionCommand: number, family: number, body: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n'), Buffer.from([versionCommand, family]), length, body]);
}

/** A relay with one route, `smtp-1`, and what it logged. `ca`: what it trusts; without it nothing. */
export async function relay(target: Partial<RelayTarget>, { ca = '', ...options }: Partial<RelayOptions> = {}) {
  const socketPath = join(await temporaryFolder(), 'relay.sock');
  const logged: unknown[] = [];
  const write = (...line: unknown[]) => void logged.push(line);
  const route: RelayTarget = {
    destination: 'office-mail',
    protocol: 'smtp',
    host: 'mail.virtual',
    port: 25,
    connectTimeoutMs: 5_000,
    security: { kind: 'none' },
    hello: 'app.example',
    ...target,
  };
  const running = await startRelay({
    socketPath,
    target: (id) => (id === 'smtp-1' ? route : undefined),
    log: { debug: write, warn: write },
    ca,
    ...options,
  });
  afterwards(() => running.close());
  return { socketPath, logged, close: running.close };
}

/** An app whose connection Envoy has just handed on. */
export function app(socketPath: string, routeId = 'smtp-1'): Socket {
  const socket = client({ path: socketPath });
  socket.write(proxyHeader([0xe0, routeId]));
  return socket;
}

/** More than all buffers on the way together. */
export const SENT = 64 * 1024 * 1024;

/** Writes until the other side takes no more; resolves to how much that was once nothing has moved for a while. */
export function fill(socket: Socket): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024, 'x');
  return new Promise((resolve) => {
    let sent = 0;
    let timer: NodeJS.Timeout | undefined;
    const write = () => {
      clearTimeout(timer);
      while (sent < SENT) {
        sent += chunk.length;
        if (!socket.write(chunk)) break;
      }
      timer = setTimeout(() => resolve(sent), 300);
    };
    socket.on('drain', write);
    write();
  });
}

/** What an app sees that speaks at once, as pipelining apps do; its bytes must not turn the close into a reset. */
export async function seen(socketPath: string, routeId?: string): Promise<string> {
  const socket = app(socketPath, routeId);
  socket.write('MAIL FROM:<a@b>\r\n'.repeat(1000));
  const line = (await untilEnd(socket)).toString();
  socket.end();
  await once(socket, 'close');
  expect(socket.errored).toBeNull();
  return line;
}
