import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ConnectivityProxyOptions, startConnectivityProxy } from '../../../demo/connectivity-proxy.ts';
import { startRelay } from '../../../sidecar-auth/relay/relay.ts';
import type { RelayTarget, TokenSource } from '../../../sidecar-auth/relay-target.ts';
import {
  afterwards,
  app,
  bytes,
  client,
  deadPort,
  fill,
  proxyHeader,
  relay,
  SENT,
  seen,
  server,
  temporaryFolder,
  untilEnd,
} from './world.ts';

const JWT = 'header.payload.signature';
const NONE: TokenSource = { kind: 'none' };

interface Setting {
  mail?: (socket: Socket) => void;
  proxy?: Partial<ConnectivityProxyOptions>;
  target?: Partial<RelayTarget>;
  token?: TokenSource;
}

function echo(socket: Socket): void {
  socket.write('220 mail\r\n');
  socket.pipe(socket);
}

async function tokenFile(text: string): Promise<TokenSource> {
  const file = join(await temporaryFolder(), 'token');
  await writeFile(file, text);
  return { kind: 'file', file };
}

/** A mail server, the simulated Connectivity Proxy in front of it, and a relay with the route `smtp-1` to it. */
async function world({ mail = echo, proxy = {}, target = {}, token }: Setting = {}) {
  const place = await server(mail);
  const running = await startConnectivityProxy({
    tokens: { accept: (jwt) => jwt === JWT },
    locations: ['', 'site-1'],
    hosts: { 'mail.virtual:25': place, '10.1.2.3:25': place },
    ...proxy,
  });
  afterwards(() => running.close());
  const source = token ?? (await tokenFile(`${JWT}\n`));
  const started = await relay({ ...target, proxy: { host: '127.0.0.1', port: running.port, token: source } });
  return { ...started, log: running.log };
}

describe('a connection', () => {
  it('reaches the virtual host, with token and location id', async () => {
    const { socketPath, log } = await world({ target: { location: 'site-1' } });
    const socket = app(socketPath);
    expect((await bytes(socket, 10)).toString()).toBe('220 mail\r\n');
    expect(log).toEqual([{ host: 'mail.virtual', port: 25, location: 'site-1', code: 0 }]);
  });

  it('keeps a greeting that comes in the same write as the SOCKS reply', async () => {
    const { socketPath } = await world({ proxy: { firstBytesWithReply: true } });
    const socket = app(socketPath);
    expect((await bytes(socket, 10)).toString()).toBe('220 mail\r\n');
    socket.write('NOOP\r\n');
    expect((await bytes(socket, 6)).toString()).toBe('NOOP\r\n');
  });

  it('delivers what the app sent behind the header, and its end of stream', async () => {
    const { socketPath } = await world();
    const socket = client({ path: socketPath });
    socket.end(Buffer.concat([proxyHeader([0xe0, 'smtp-1']), Buffer.from('QUIT\r\n')]));
    expect((await untilEnd(socket)).toString()).toBe('220 mail\r\nQUIT\r\n');
  });

  it('takes a header that comes byte by byte', async () => {
    const { socketPath } = await world();
    const socket = client({ path: socketPath });
    socket.setNoDelay();
    for (const byte of proxyHeader([0xe0, 'smtp-1'])) {
      await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
    }
    expect((await bytes(socket, 10)).toString()).toBe('220 mail\r\n');
  });

  it("passes the server's end of stream on and lets the app speak on", async () => {
    const heard = Promise.withResolvers<string>();
    const { socketPath } = await world({
      mail: (socket) => {
        socket.end('bye\r\n');
        untilEnd(socket).then((got) => heard.resolve(got.toString()), heard.reject);
      },
    });
    const socket = app(socketPath);
    expect((await untilEnd(socket)).toString()).toBe('bye\r\n');
    socket.end('last words');
    expect(await heard.promise).toBe('last words');
  });

  it('gives the app what came before a reset, then closes', async () => {
    const answers = ['0580', '0100', `05000001${'00'.repeat(6)}${Buffer.from('half a li').toString('hex')}`];
    const { host, port } = await server((socket) => {
      socket.on('data', () => {
        const next = answers.shift();
        if (next) socket.write(Buffer.from(next, 'hex'));
        else socket.resetAndDestroy();
      });
    });
    const { socketPath } = await relay({ proxy: { host, port, token: NONE } });
    const socket = app(socketPath);
    expect((await bytes(socket, 9)).toString()).toBe('half a li');
    socket.write('x');
    await once(socket.resume(), 'end');
  });

  it('closes the way to a server whose app is gone', async () => {
    const ended = Promise.withResolvers<void>();
    const { socketPath } = await world({
      mail: (socket) => socket.write('220\r\n') && socket.resume().once('end', ended.resolve),
    });
    const socket = app(socketPath);
    await bytes(socket, 5);
    socket.destroy();
    await ended.promise;
  });

  it('sends an IPv4 literal as IPv4', async () => {
    const { socketPath, log } = await world({ target: { host: '10.1.2.3' } });
    expect((await bytes(app(socketPath), 10)).toString()).toBe('220 mail\r\n');
    expect(log[0]).toMatchObject({ host: '10.1.2.3', code: 0 });
  });

  it('needs no token where the proxy trusts its network: both of its ways', async () => {
    const length0 = await world({ token: NONE, proxy: { tokens: 'none' }, target: { location: 'site-1' } });
    expect((await bytes(app(length0.socketPath), 10)).toString()).toBe('220 mail\r\n');
    expect(length0.log[0]).toMatchObject({ location: 'site-1' });
    const noMethod = await world({ token: NONE, proxy: { tokens: 'none', noAuthMethod: true } });
    expect((await bytes(app(noMethod.socketPath), 10)).toString()).toBe('220 mail\r\n');
  });
});

describe('back-pressure', () => {
  it('holds a server back whose app does not read, and then delivers all of it', async () => {
    const filled = Promise.withResolvers<number>();
    const { socketPath } = await world({
      mail: (socket) => void fill(socket).then(filled.resolve),
      proxy: { firstBytesWithReply: true },
    });
    const socket = app(socketPath);
    const stalled = await filled.promise;
    expect(stalled).toBeLessThan(SENT / 2);
    expect((await bytes(socket, stalled)).length).toBe(stalled);
  });

  it('holds an app back whose server does not read', async () => {
    const reading = Promise.withResolvers<Socket>();
    const { socketPath } = await world({ mail: (socket) => reading.resolve(socket.pause()) });
    const socket = app(socketPath);
    const server = await reading.promise;
    const stalled = await fill(socket);
    expect(stalled).toBeLessThan(SENT / 2);
    expect((await bytes(server, stalled)).length).toBe(stalled);
  });
});

describe('failures become one line', () => {
  const temporary = (failure: string) => `421 4.4.1 postern: office-mail: ${failure}\r\n`;
  const permanent = (failure: string) => `554 5.4.1 postern: office-mail: ${failure}\r\n`;
  const replies: Record<number, string> = {
    1: temporary('socks: general failure, or the mail server closed the connection (SOCKS reply 1)'),
    2: permanent('socks: the Cloud Connector does not expose this host and port (SOCKS reply 2)'),
    3: temporary('socks: no Cloud Connector is connected for this subaccount and location id (SOCKS reply 3)'),
    4: temporary('socks: the Cloud Connector cannot reach the mail server (SOCKS reply 4)'),
    5: permanent('socks: the Connectivity Proxy refused the authentication (SOCKS reply 5)'),
    7: permanent('socks: the Connectivity Proxy does not support the command CONNECT (SOCKS reply 7)'),
    8: permanent('socks: the Connectivity Proxy does not support this type of address (SOCKS reply 8)'),
    9: temporary('socks: undocumented answer of the Connectivity Proxy (SOCKS reply 9)'),
  };
  for (const [code, line] of Object.entries(replies)) {
    it(`SOCKS reply ${code}`, async () => {
      const { socketPath } = await world({ proxy: { replies: { 'mail.virtual:25': Number(code) } } });
      expect(await seen(socketPath)).toBe(line);
    });
  }

  it('replies that the simulator gives for a reason: 2, 3, 4', async () => {
    const hidden = await world({ target: { port: 26 } });
    expect(await seen(hidden.socketPath)).toBe(replies[2]);
    const elsewhere = await world({ target: { location: 'site-2' } });
    expect(await seen(elsewhere.socketPath)).toBe(replies[3]);
    const dead = { 'mail.virtual:25': { host: '127.0.0.1', port: await deadPort() } };
    expect(await seen((await world({ proxy: { hosts: dead } })).socketPath)).toBe(replies[4]);
  });

  it('to an app that does not stop talking, too', async () => {
    const { socketPath } = await world({ target: { port: 26 } });
    const socket = app(socketPath);
    const written = new Promise((resolve) => socket.write(Buffer.alloc(8 * 1024 * 1024), resolve));
    expect((await untilEnd(socket)).toString()).toBe(replies[2]);
    expect(await written).toBeFalsy();
  });

  it('IMAP and POP3 in their own words', async () => {
    const proxy = { replies: { 'mail.virtual:25': 2 } };
    const imap = await world({ proxy, target: { protocol: 'imap' } });
    expect(await seen(imap.socketPath)).toMatch(/^\* BYE \[CONTACTADMIN\] postern: office-mail: socks: .*\r\n$/);
    const pop3 = await world({ proxy, target: { protocol: 'pop3' } });
    expect(await seen(pop3.socketPath)).toMatch(/^-ERR \[SYS\/PERM\] postern: office-mail: socks: .*\r\n$/);
  });

  it('a refused token, without telling it', async () => {
    const { socketPath, logged } = await world({ token: await tokenFile('wrong-token') });
    expect(await seen(socketPath)).toBe(permanent('socks: the Connectivity Proxy refused the token'));
    expect(JSON.stringify(logged)).not.toContain('wrong-token');
    expect(JSON.stringify(logged)).toContain('"failure":"socks"');
  });

  it('no token', async () => {
    const { socketPath } = await world({ token: { kind: 'file', file: join(await temporaryFolder(), 'missing') } });
    expect(await seen(socketPath)).toMatch(/^421 4\.7\.0 postern: office-mail: token: .*\(ENOENT\)\r\n$/);
  });

  it('a location id that method 0x00 cannot carry, and its twin without one is let in above', async () => {
    const { socketPath } = await world({
      token: NONE,
      proxy: { tokens: 'none', noAuthMethod: true },
      target: { location: 'site-1' },
    });
    expect(await seen(socketPath)).toMatch(
      /^554 .* takes no authentication, so a location id cannot be sent to it\r\n$/,
    );
  });

  it('a proxy that wants no token where one is configured: no CONNECT leaves', async () => {
    const { socketPath, log } = await world({ proxy: { tokens: 'none', noAuthMethod: true } });
    expect(await seen(socketPath)).toMatch(/^554 .* takes no token, but one is configured\r\n$/);
    expect(log).toEqual([]);
  });

  it('hosts that cannot be sent: IPv6, other letters, too long; the longest can', async () => {
    expect(await seen((await world({ target: { host: '::1' } })).socketPath)).toContain(
      'an IPv6 address cannot be reached',
    );
    expect(await seen((await world({ target: { host: '[fe80::1]' } })).socketPath)).toContain('an IPv6 address');
    expect(await seen((await world({ target: { host: 'bücher.example' } })).socketPath)).toContain('printable ASCII');
    expect(await seen((await world({ target: { host: 'a'.repeat(256) } })).socketPath)).toContain('longer than 255');
    const longest = await world({ target: { host: 'a'.repeat(255) } });
    expect(await seen(longest.socketPath)).toBe(replies[2]);
    expect(longest.log[0]?.host).toHaveLength(255);
  });

  it('a location id too long for its octet of length; the longest is sent', async () => {
    expect(await seen((await world({ target: { location: 'ä'.repeat(95) } })).socketPath)).toContain(
      'longer than 189 octets',
    );
    const longest = await world({ target: { location: 'a'.repeat(189) } });
    expect(await seen(longest.socketPath)).toBe(replies[3]);
    expect(longest.log[0]?.location).toHaveLength(189);
  });

  it('a proxy that refuses the connection', async () => {
    const port = await deadPort();
    const { socketPath } = await relay({ proxy: { host: '127.0.0.1', port, token: NONE } });
    expect(await seen(socketPath)).toBe(
      temporary(`connect: the Connectivity Proxy at 127.0.0.1:${port} refused the connection`),
    );
  });

  it('a proxy whose name is unknown', async () => {
    const { socketPath } = await relay({ proxy: { host: 'proxy.invalid', port: 1080, token: NONE } });
    expect(await seen(socketPath)).toMatch(
      /^421 4\.4\.1 .*connect: .*cannot be reached \((ENOTFOUND|EAI_AGAIN)\)\r\n$/,
    );
  });

  it('a proxy that never says a word', async () => {
    const { host, port } = await server(() => {});
    const { socketPath } = await relay({ proxy: { host, port, token: NONE }, connectTimeoutMs: 100 });
    expect(await seen(socketPath)).toMatch(
      /socks: the Connectivity Proxy did not finish the SOCKS5 handshake within 100 ms/,
    );
  });

  const scripts: Record<string, [string[], RegExp]> = {
    'closes before it answers': [[''], /closed the connection after the greeting\r\n$/],
    'closes after the method': [['0580', ''], /closed the connection after the authentication\r\n$/],
    'closes instead of replying': [['0580', '0100', ''], /closed the connection after the request\r\n$/],
    'closes in the middle of the reply': [['0580', '0100', '05000001', ''], /closed the connection after the request/],
    'accepts no method': [['05ff'], /^554 .*accepts none of the authentication methods offered/],
    'chooses a method of its own': [['0502'], /malformed .*: it chose a method that was not offered/],
    'speaks SOCKS4': [['045a'], /malformed .*: it does not speak SOCKS5/],
    'is a mail server': [['323230206d61696c0d0a'], /malformed .*: it does not speak SOCKS5/],
    'answers before it is asked': [['05800100'], /malformed .*: it answered before it was asked/],
    'has another authentication version': [['0580', '0500'], /malformed .*: unknown version of the authentication/],
    'replies in another version': [['0580', '0100', '0400'], /malformed .*: the reply is not SOCKS5/],
    'replies with an unknown address type': [
      ['0580', '0100', '05000002000000000000'],
      /malformed .*unknown type of address/,
    ],
    'refuses with a reply cut short': [['0580', '0100', '0502'], /SOCKS reply 2/],
  };
  for (const [name, [answers, line]] of Object.entries(scripts)) {
    it(`a proxy that ${name}`, async () => {
      const { host, port } = await server((socket) => {
        const queue = [...answers];
        socket.on('data', () => {
          const next = queue.shift();
          if (next === '') socket.end();
          else if (next !== undefined) socket.write(Buffer.from(next, 'hex'), () => queue[0] === '' && socket.end());
        });
      });
      const { socketPath } = await relay({ proxy: { host, port, token: NONE } });
      expect(await seen(socketPath)).toMatch(line);
    });
  }

  it('replies with a domain name or an IPv6 address are understood', async () => {
    for (const reply of ['05000003026162 0019', `05000004${'00'.repeat(16)}0019`]) {
      const answers = ['0580', '0100', `${reply.replace(' ', '')}${Buffer.from('220 x\r\n').toString('hex')}`];
      const { host, port } = await server((socket) => {
        socket.on('data', () => socket.write(Buffer.from(answers.shift() ?? '', 'hex')));
      });
      const { socketPath } = await relay({ proxy: { host, port, token: NONE } });
      expect((await bytes(app(socketPath), 7)).toString()).toBe('220 x\r\n');
    }
  });

  it('an unknown route id, in the words of the protocol that it names; no route at all', async () => {
    const { socketPath } = await world();
    const text = 'postern: unknown: internal: this route is no longer valid, please try again\r\n';
    expect(await seen(socketPath, 'smtp-2')).toBe(`421 4.3.0 ${text}`);
    expect(await seen(socketPath, 'imap-2')).toBe(`* BYE [UNAVAILABLE] ${text}`);
    expect(await seen(socketPath, 'pop3-2')).toBe(`-ERR [SYS/TEMP] ${text}`);
    expect(await seen(socketPath, '-')).toBe(`421 4.3.0 ${text}`);
  });

  it('closes without a word where the header is malformed', async () => {
    const { socketPath, log } = await world();
    const socket = client({ path: socketPath });
    socket.write('EHLO x\r\n');
    await once(socket.resume(), 'end');
    expect(socket.bytesRead).toBe(0);
    expect(log).toEqual([]);
  });
});

describe('the socket', () => {
  const options = { target: () => undefined, log: { debug: () => {}, warn: () => {} }, ca: '' };

  it('has mode 0600 and goes with the relay', async () => {
    const { socketPath, close } = await world();
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    await close();
    await expect(stat(socketPath)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('replaces the socket of a dead process, not of a live one, and no other file', async () => {
    const folder = await temporaryFolder();
    const file = join(folder, 'file');
    await writeFile(file, 'not ours');
    await expect(startRelay({ ...options, socketPath: file })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    const { socketPath } = await world();
    await expect(startRelay({ ...options, socketPath })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    const stale = await leaveStale(join(folder, 'stale.sock'));
    const running = await startRelay({ ...options, socketPath: stale });
    await running.close();
  });

  it('ends every connection when it is closed', async () => {
    const { socketPath, close } = await world();
    const socket = app(socketPath);
    await bytes(socket, 10);
    const closed = once(socket.resume(), 'end');
    await close();
    await closed;
  });
});

/** A socket file that nobody listens on: a hard link outlives the name that Node removes. */
async function leaveStale(path: string): Promise<string> {
  const { link } = await import('node:fs/promises');
  const listening = createServer().listen(`${path}.1`);
  await once(listening, 'listening');
  await link(`${path}.1`, path);
  await new Promise((resolve) => listening.close(resolve));
  return path;
}
