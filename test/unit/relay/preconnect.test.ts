// mail.<protocol>.preconnect through the relay: connections that stand at the login.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { RelayTarget } from '../../../sidecar-auth/relay-target.ts';
import {
  authority,
  certificate,
  contextOf,
  echo,
  GREETINGS,
  loopback,
  NAME,
  OWN,
  PROTOCOLS,
  relayThroughProxy,
  relayTo,
  STARTTLS,
  startTlsServer,
  TLS,
  tlsServer,
} from './secure-world.ts';
import { app, bytes, relay, seen, server, untilEnd } from './world.ts';

/** Ends the app's side behind one line, and returns all that it heard. */
async function session(socketPath: string, routeId?: string): Promise<string> {
  const socket = app(socketPath, routeId);
  socket.end('NOOP\r\n');
  return (await untilEnd(socket)).toString();
}

const until = (condition: () => boolean) => expect.poll(condition, { interval: 2 }).toBe(true);

/** A plain server that keeps its sockets, in their order. */
function keeping(mail: (socket: Socket, index: number) => void) {
  const sockets: Socket[] = [];
  return {
    sockets,
    mail: (socket: Socket) => {
      sockets.push(socket);
      mail(socket, sockets.length - 1);
    },
  };
}

const PLAIN: Partial<RelayTarget> = { preconnect: true, security: { kind: 'none' } };

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    it('with STARTTLS: each session but the first finds a connection under TLS', async () => {
      const ca = await authority();
      const place = await startTlsServer(contextOf(await certificate(ca)), { protocol }, echo());
      const target = { protocol, security: STARTTLS, preconnect: true };
      const { socketPath } = await relayTo(place, ca.ca, target);
      expect(place.secured).toHaveLength(0);
      for (let round = 1; round <= 3; round++) {
        expect(await session(socketPath)).toBe(`${OWN[protocol]}NOOP\r\n`);
        await until(() => place.secured.length === round + 1);
      }
    });

    it('on-premise: the greeting is the server’s own, in whatever pieces it came', async () => {
      const greeting = `${GREETINGS[protocol]} number `;
      const { sockets, mail } = keeping(async (socket, index) => {
        socket.setNoDelay();
        for (const octet of `${greeting}${index}\r\n`) await new Promise((done) => socket.write(octet, done));
        socket.pipe(socket);
      });
      const place = await server(mail);
      const { socketPath, log } = await relayThroughProxy(place, '', { ...PLAIN, protocol }, true);
      for (let round = 0; round < 3; round++) {
        expect(await session(socketPath)).toBe(`${greeting}${round}\r\nNOOP\r\n`);
        await until(() => log.length === round + 2);
      }
      expect(sockets).toHaveLength(4);
    });

    it('on-premise with TLS: the greeting is read under it', async () => {
      const ca = await authority();
      const place = await tlsServer(contextOf(await certificate(ca)), echo(`${GREETINGS[protocol]}\r\n`));
      const target = { ...PLAIN, protocol, security: TLS };
      const { socketPath } = await relayThroughProxy(place, ca.ca, target);
      for (let round = 1; round <= 3; round++) {
        expect(await session(socketPath)).toBe(`${GREETINGS[protocol]}\r\nNOOP\r\n`);
        await until(() => place.secured.length === round + 1);
      }
    });
  });
}

/** A relay to a plain server; `opened` resolves when so many connections have been made. */
async function plainWorld(mail: (socket: Socket, index: number) => void, target: Partial<RelayTarget> = {}) {
  const { sockets, mail: accept } = keeping(mail);
  const place = await server(accept);
  const started = await relayTo(place, '', { ...PLAIN, ...target });
  const ready = async (count: number) => {
    await until(() => sockets.length === count);
    // Its greeting has been read as soon as what the server says next is acknowledged; 50 ms are plenty on loopback.
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  return { ...started, place, sockets, ready };
}

const greet = (socket: Socket, index: number) => {
  socket.write(`220 number ${index}\r\n`);
  socket.pipe(socket);
};

describe('a connection that stands ready', () => {
  it('is not there without preconnect', async () => {
    const { socketPath, ready, sockets } = await plainWorld(greet, { preconnect: false });
    await session(socketPath);
    await ready(1);
    expect(await session(socketPath)).toContain('number 1');
    expect(sockets).toHaveLength(2);
  });

  it('serves one session of many that come at once', async () => {
    const { socketPath, ready } = await plainWorld(greet);
    await session(socketPath);
    await ready(2);
    const heard = await Promise.all(Array.from({ length: 20 }, () => session(socketPath)));
    expect(new Set(heard).size).toBe(20);
    expect(heard.every((text) => /^220 number \d+\r\nNOOP\r\n$/.test(text))).toBe(true);
  });

  it('passes on both ends of stream and what the app says early', async () => {
    const heard = Promise.withResolvers<string>();
    const { socketPath, ready } = await plainWorld((socket, index) => {
      socket.write(`220 number ${index}\r\n`);
      if (index !== 1) return void socket.pipe(socket);
      socket.once('data', (chunk) => {
        socket.end('bye\r\n');
        untilEnd(socket).then((rest) => heard.resolve(chunk.toString() + rest), heard.reject);
      });
    });
    await session(socketPath);
    await ready(2);
    const socket = app(socketPath);
    socket.write('early\r\n');
    expect((await untilEnd(socket)).toString()).toBe('220 number 1\r\nbye\r\n');
    socket.end('last words');
    expect(await heard.promise).toBe('early\r\nlast words');
  });

  it.each<[string, (socket: Socket) => void]>([
    ['says something unasked', (socket) => socket.write('250 EVIL\r\n')],
    ['half-closes it', (socket) => socket.end()],
    ['closes it', (socket) => socket.destroy()],
    ['resets it', (socket) => socket.resetAndDestroy()],
  ])('is dropped when the server %s; the session dials as always', async (_name, act) => {
    const { socketPath, ready, sockets } = await plainWorld(greet);
    await session(socketPath);
    await ready(2);
    const [, spare] = sockets as [Socket, Socket];
    const closed = spare.destroyed ? undefined : once(spare, 'close');
    act(spare);
    await closed;
    await ready(2);
    expect(await session(socketPath)).toBe('220 number 2\r\nNOOP\r\n');
    await ready(4);
  });

  it.each([
    ['speaks behind its greeting', '220 number 1\r\n250 EVIL\r\n'],
    ['is busy', '421 EVIL\r\n'],
    ['greets in another protocol', '* OK EVIL\r\n'],
    ['closes without a greeting', ''],
  ])('is not kept where the server %s, and is no error for anybody', async (_name, words) => {
    const { socketPath, ready, logged } = await plainWorld((socket, index) => {
      if (index !== 1) greet(socket, index);
      else if (words) socket.write(words);
      else socket.end();
    });
    expect(await session(socketPath)).toBe('220 number 0\r\nNOOP\r\n');
    await ready(2);
    for (const number of [2, 3]) expect(await session(socketPath)).toBe(`220 number ${number}\r\nNOOP\r\n`);
    expect(JSON.stringify(logged)).toContain('"failure":"server_greeting"');
    expect(JSON.stringify(logged)).not.toContain('EVIL');
    // No other was opened: the route has its pause.
    await ready(4);
  });

  it('is closed with the relay', async () => {
    const { ready, sockets, socketPath, close } = await plainWorld(greet);
    await session(socketPath);
    await ready(2);
    const [, spare] = sockets as [Socket, Socket];
    const ended = once(spare, 'end');
    await close();
    await ended;
  });

  it('is of one route: another finds none, nor does one that has taken its place', async () => {
    const { sockets, mail } = keeping(greet);
    const place = await server(mail);
    const route: RelayTarget = {
      destination: 'office-mail',
      protocol: 'smtp',
      host: NAME,
      port: place.port,
      connectTimeoutMs: 5_000,
      hello: 'app.example',
      security: { kind: 'none' },
      preconnect: true,
    };
    const current = new Set(['smtp-1', 'smtp-2']);
    const target = (id: string) => (current.has(id) ? route : undefined);
    const { socketPath } = await relay({}, { target, resolve: loopback });
    await session(socketPath, 'smtp-1');
    await until(() => sockets.length === 2);
    expect(await session(socketPath, 'smtp-2')).toContain('number 2');
    current.delete('smtp-1');
    current.add('smtp-3');
    await once(sockets[1] as Socket, 'close');
    expect(await seen(socketPath, 'smtp-1')).toContain('this route is no longer valid');
    expect(await session(socketPath, 'smtp-3')).not.toContain('number 1');
  });
});

it('no connection is opened for a session that failed', async () => {
  const { socketPath, ready, sockets } = await plainWorld((socket) => socket.end(), { security: STARTTLS });
  expect(await seen(socketPath)).toContain('server_greeting');
  await ready(1);
  expect(sockets).toHaveLength(1);
});

it('an app that takes a connection and goes leaves none behind', async () => {
  const { socketPath, ready, sockets } = await plainWorld(greet);
  await session(socketPath);
  await ready(2);
  const socket = app(socketPath);
  await bytes(socket, 5);
  const ended = once(sockets[1] as Socket, 'close');
  socket.destroy();
  await ended;
});
