import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { Failure } from '../../../sidecar-auth/failure.ts';
import { afterwards, app, bytes, client, deadPort, proxyHeader, relay, seen, server, untilEnd } from './world.ts';

const HI = '220 mail\r\n';
const greet = () => server((socket) => socket.write(HI) && socket.pipe(socket));
const resolving = (...addresses: string[]) => ({ resolve: async () => ({ addresses, keep: 1 }) });

describe('without a proxy', () => {
  it('a name is looked up and dialled; bytes and ends of stream pass', async () => {
    const { port } = await greet();
    const { socketPath } = await relay({ host: 'mail.example', port }, resolving('127.0.0.1'));
    const socket = client({ path: socketPath });
    socket.end(Buffer.concat([proxyHeader([0xe0, 'smtp-1']), Buffer.from('QUIT\r\n')]));
    expect((await untilEnd(socket)).toString()).toBe(`${HI}QUIT\r\n`);
  });

  it("the system's own resolver serves names and literals", async () => {
    const { port } = await greet();
    for (const host of ['127.0.0.1', 'localhost']) {
      const { socketPath } = await relay({ host, port });
      expect((await bytes(app(socketPath), HI.length)).toString()).toBe(HI);
    }
  });

  it('a name that is unknown', async () => {
    const { socketPath } = await relay({ host: 'mail.invalid', port: 25 });
    expect(await seen(socketPath)).toMatch(
      /^421 4\.4\.3 postern: office-mail: resolve: mail\.invalid: .*\(E\w+\)\r\n$/,
    );
  });

  it('a resolver that fails, and one that does not answer in time', async () => {
    const fails = await relay(
      { host: 'a.example' },
      { resolve: () => Promise.reject(new Failure('resolve', 'a.example: no')) },
    );
    expect(await seen(fails.socketPath)).toBe('421 4.4.3 postern: office-mail: resolve: a.example: no\r\n');
    const hangs = await relay({ host: 'a.example', connectTimeoutMs: 100 }, { resolve: () => new Promise(() => {}) });
    expect(await seen(hangs.socketPath)).toBe(
      '421 4.4.3 postern: office-mail: resolve: the name server for a.example did not answer within 100 ms\r\n',
    );
  });

  it('nobody listens at any address: each is named with its reason', async () => {
    const port = await deadPort();
    const { socketPath } = await relay({ host: 'mail.example', port }, resolving('127.0.0.1', '127.0.0.2'));
    expect(await seen(socketPath)).toBe(
      `421 4.4.1 postern: office-mail: connect: 127.0.0.1:${port} refused the connection, 127.0.0.2:${port} refused the connection\r\n`,
    );
  });

  it('the second address is tried at once where the first refuses', async () => {
    const { port } = await greet();
    const { socketPath } = await relay({ host: 'mail.example', port }, resolving('127.0.0.2', '127.0.0.1'));
    expect((await bytes(app(socketPath), HI.length)).toString()).toBe(HI);
  });

  it('the second address is tried after 250 ms where the first keeps silent, and the first is given up', async () => {
    const silent = await silentPort();
    const live = createServer((socket) => socket.end(HI)).listen(silent, '127.0.0.1');
    afterwards(() => live.close());
    await once(live, 'listening');
    const { socketPath } = await relay({ host: 'mail.example', port: silent }, resolving('127.0.0.2', '127.0.0.1'));
    const began = performance.now();
    expect((await bytes(app(socketPath), HI.length)).toString()).toBe(HI);
    expect(performance.now() - began).toBeGreaterThan(200);
    expect(process.getActiveResourcesInfo()).not.toContain('ConnectWrap');
  });

  it('a silent address is told at the deadline', async () => {
    const port = await silentPort();
    const { socketPath } = await relay({ host: 'mail.example', port, connectTimeoutMs: 400 }, resolving('127.0.0.2'));
    app(socketPath);
    await vi.waitFor(() => expect(process.getActiveResourcesInfo()).toContain('ConnectWrap'));
    expect(await seen(socketPath)).toBe(
      `421 4.4.1 postern: office-mail: connect: 127.0.0.2:${port} did not answer within 400 ms\r\n`,
    );
    expect(process.getActiveResourcesInfo()).not.toContain('ConnectWrap');
  });
});

/** A server on 127.0.0.2 that never accepts: with its backlog full, the kernel drops further SYNs. */
const STUCK = `
  const server = require('net').createServer().listen({ port: 0, host: '127.0.0.2', backlog: 1 }, () => {
    require('fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;

async function silentPort(): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, ['-e', STUCK], { stdio: ['ignore', 'pipe', 'inherit'] });
  afterwards(() => child.kill('SIGKILL'));
  const [said] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer];
  const port = Number(said.toString());
  // backlog + 1 are taken, the third waits in vain.
  for (let taken = 0; taken < 2; taken++) await once(client({ host: '127.0.0.2', port }), 'connect');
  return port;
}
