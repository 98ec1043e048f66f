import { once } from 'node:events';
import type { Socket } from 'node:net';
import { getCACertificates, type PeerCertificate, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import type { IssueOptions } from '../../../demo/certificates.ts';
import type { Protocol } from '../../../sidecar-auth/failure.ts';
import { proofOf, type TlsSession, TlsSessions } from '../../../sidecar-auth/relay/tls-sessions.ts';
import type { RelayTarget } from '../../../sidecar-auth/relay-target.ts';
import {
  authority,
  certificate,
  contextOf,
  echo,
  GREETINGS,
  NAME,
  PROTOCOLS,
  relayThroughProxy,
  relayTo,
  TLS,
  tlsServer,
} from './secure-world.ts';
import { afterwards, app, bytes, client, fill, proxyHeader, relay, SENT, seen, server, untilEnd } from './world.ts';

const HI = '220 mail\r\n';

interface Setting {
  issue?: IssueOptions;
  target?: Partial<RelayTarget>;
  mail?: (socket: TLSSocket) => void;
}

async function world({ issue, target, mail = echo(HI) }: Setting = {}) {
  const ca = await authority();
  const place = await tlsServer(contextOf(await certificate(ca, issue)), mail);
  return { place, ca, ...(await relayTo(place, ca.ca, { security: TLS, ...target })) };
}

describe('a connection with TLS', () => {
  it('names the server, and gives the app its greeting and its answers', async () => {
    const { socketPath, place } = await world();
    const socket = app(socketPath);
    expect((await bytes(socket, HI.length)).toString()).toBe(HI);
    socket.write('NOOP\r\n');
    expect((await bytes(socket, 6)).toString()).toBe('NOOP\r\n');
    const [tls] = place.secured;
    expect(tls).toMatchObject({ servername: NAME, alpnProtocol: false });
    expect(tls?.getProtocol()).toBe('TLSv1.3');
  });

  it("delivers what came early, and the app's end of stream", async () => {
    const { socketPath } = await world();
    const socket = client({ path: socketPath });
    socket.end(Buffer.concat([proxyHeader([0xe0, 'smtp-1']), Buffer.from('QUIT\r\n')]));
    expect((await untilEnd(socket)).toString()).toBe(`${HI}QUIT\r\n`);
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

  it('closes the way to a server whose app is gone, and the way to an app whose server is', async () => {
    const gone = Promise.withResolvers<void>();
    const { socketPath, place } = await world({
      mail: (tls) => tls.resume().write(HI) && tls.once('end', () => gone.resolve()),
    });
    const first = app(socketPath);
    await bytes(first, HI.length);
    first.destroy();
    await gone.promise;
    const second = app(socketPath);
    await bytes(second, HI.length);
    place.secured[1]?.destroy();
    await once(second.resume(), 'end');
  });

  it('ends when the relay is closed, also during the handshake', async () => {
    const begun = Promise.withResolvers<Socket>();
    const silent = await server((socket) => socket.once('data', () => begun.resolve(socket)));
    const { socketPath, close } = await relayTo(silent, '', { security: TLS });
    app(socketPath);
    const ended = once((await begun.promise).resume(), 'end');
    await close();
    await ended;
  });
});

describe('back-pressure under TLS', () => {
  it('holds a server back whose app does not read, and then delivers all of it', async () => {
    const filled = Promise.withResolvers<number>();
    const { socketPath } = await world({ mail: (socket) => void fill(socket).then(filled.resolve) });
    const socket = app(socketPath);
    const stalled = await filled.promise;
    expect(stalled).toBeLessThan(SENT / 2);
    expect((await bytes(socket, stalled)).length).toBe(stalled);
  });

  it('holds an app back whose server does not read', async () => {
    const reading = Promise.withResolvers<Socket>();
    const { socketPath } = await world({ mail: (socket) => reading.resolve(socket.pause()) });
    const socket = app(socketPath);
    const place = await reading.promise;
    const stalled = await fill(socket);
    expect(stalled).toBeLessThan(SENT / 2);
    expect((await bytes(place, stalled)).length).toBe(stalled);
  });
});

const OTHER_NAME = 'its certificate is for another name (ERR_TLS_CERT_ALTNAME_INVALID)';
const BAD: Record<string, [IssueOptions, string]> = {
  expired: [{ expired: true }, 'its certificate has expired (CERT_HAS_EXPIRED)'],
  'for another name': [{ names: ['other.example'] }, OTHER_NAME],
  'for a name below': [{ names: ['a.mail.example'] }, OTHER_NAME],
  'for every name below': [{ names: ['*.mail.example'] }, OTHER_NAME],
  'for the name as common name only': [{ names: [] }, OTHER_NAME],
  'self-signed': [{ selfSigned: true }, 'its certificate is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)'],
};
const LINES: Record<Protocol, (text: string) => string> = {
  smtp: (text) => `421 4.7.5 postern: office-mail: tls: ${text}\r\n`,
  imap: (text) => `* BYE [UNAVAILABLE] postern: office-mail: tls: ${text}\r\n`,
  pop3: (text) => `-ERR [SYS/TEMP] postern: office-mail: tls: ${text}\r\n`,
};

describe('a certificate', () => {
  for (const [name, [issue, reason]] of Object.entries(BAD)) {
    it(`${name}: refused in each protocol's words, nothing of the app is sent; accepted where the target does not verify`, async () => {
      const heard: string[] = [];
      const mail = (tls: TLSSocket) => void tls.on('data', (chunk) => heard.push(chunk.toString())).write(HI);
      const ca = await authority();
      const place = await tlsServer(contextOf(await certificate(ca, issue)), mail);
      for (const protocol of PROTOCOLS) {
        const { socketPath } = await relayTo(place, ca.ca, { protocol, security: TLS });
        const text = `no trusted TLS connection to ${NAME}:${place.port}: ${reason}`;
        expect(await seen(socketPath)).toBe(LINES[protocol](text));
      }
      expect(heard).toEqual([]);
      const { socketPath } = await relayTo(place, ca.ca, { security: { ...TLS, verify: false } });
      expect((await bytes(app(socketPath), HI.length)).toString()).toBe(HI);
    });
  }

  it('of a CA that is not among those given; its own CA lets it in', async () => {
    const { place, ca } = await world();
    const stranger = await relayTo(place, (await authority()).ca, { security: TLS });
    expect(await seen(stranger.socketPath)).toContain('the CA of its certificate is not known (UNABLE_TO_');
    const none = await relayTo(place, '', { security: TLS });
    expect(await seen(none.socketPath)).toContain('the CA of its certificate is not known (UNABLE_TO_');
    const known = await relayTo(place, `${(await authority()).ca}\n${ca.ca}\n`, { security: TLS });
    expect((await bytes(app(known.socketPath), HI.length)).toString()).toBe(HI);
  });

  it('of a CA that only Node itself trusts', async () => {
    const { place, ca } = await world();
    const before = getCACertificates('default');
    afterwards(() => setDefaultCACertificates(before));
    setDefaultCACertificates([ca.ca]);
    const none = await relayTo(place, '', { security: TLS });
    expect(await seen(none.socketPath)).toContain('the CA of its certificate is not known (UNABLE_TO_');
  });

  it('with a wildcard in place of the first label', async () => {
    const target = { security: { ...TLS, name: 'a.mail.example' } };
    const { socketPath } = await world({ issue: { names: ['*.mail.example'] }, target });
    expect((await bytes(app(socketPath), HI.length)).toString()).toBe(HI);
  });

  it('for an IP literal, without SNI; refused for another one, and for the literal as a name', async () => {
    const target = { host: '127.0.0.1', security: { ...TLS, name: '127.0.0.1' } };
    const right = await world({ issue: { addresses: ['127.0.0.1'] }, target });
    expect((await bytes(app(right.socketPath), HI.length)).toString()).toBe(HI);
    expect(right.place.secured[0]?.servername).toBeFalsy();
    const wrong = await world({ issue: { addresses: ['127.0.0.2'] }, target });
    expect(await seen(wrong.socketPath)).toContain(OTHER_NAME);
    const asName = await world({ issue: { names: ['127.0.0.1'] }, target });
    expect(await seen(asName.socketPath)).toContain(OTHER_NAME);
  });
});

describe('a server that', () => {
  const plain = 'it speaks plain text where TLS is expected (ERR_SSL_';
  it('speaks plain text, before or after it is spoken to: also where the target does not verify', async () => {
    for (const verify of [true, false]) {
      const security = { ...TLS, verify };
      const greets = await server((socket) => socket.resume().write(HI));
      expect(await seen((await relayTo(greets, '', { security })).socketPath)).toContain(plain);
      const answers = await server((socket) =>
        socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
      );
      expect(await seen((await relayTo(answers, '', { security })).socketPath)).toContain(plain);
    }
  });

  it('speaks plain text in the same write as the SOCKS reply', async () => {
    const greets = await server((socket) => socket.resume().write(HI));
    const { socketPath } = await relayThroughProxy(greets, '', { security: TLS }, true);
    expect(await seen(socketPath)).toBe(
      LINES.smtp(
        'no trusted TLS connection to mail.virtual:25: it speaks plain text where TLS is expected (ERR_SSL_WRONG_VERSION_NUMBER)',
      ),
    );
  });

  it('closes or resets during the handshake', async () => {
    const closed = 'it closed the connection during the handshake (ECONNRESET)';
    const ends = await server((socket) => socket.once('data', () => socket.end()));
    expect(await seen((await relayTo(ends, '', { security: TLS })).socketPath)).toContain(closed);
    const resets = await server((socket) => socket.once('data', () => socket.resetAndDestroy()));
    expect(await seen((await relayTo(resets, '', { security: TLS })).socketPath)).toContain(closed);
    const atOnce = await server((socket) => socket.end());
    expect(await seen((await relayTo(atOnce, '', { security: TLS })).socketPath)).toContain(closed);
  });

  it('never answers the handshake: within the deadline', async () => {
    const silent = await server((socket) => socket.resume());
    const { socketPath } = await relayTo(silent, '', { security: TLS, connectTimeoutMs: 200 });
    expect(await seen(socketPath)).toBe(
      LINES.smtp(`${NAME}:${silent.port} did not finish the TLS handshake within 200 ms`),
    );
  });

  it('speaks TLS 1.1 only; 1.2 is enough', async () => {
    const ca = await authority();
    const issued = await certificate(ca);
    const at = async (version: 'TLSv1.1' | 'TLSv1.2') => {
      const place = await tlsServer(contextOf(issued, { minVersion: version, maxVersion: version }), echo(HI));
      return (await relayTo(place, ca.ca, { security: TLS })).socketPath;
    };
    expect(await seen(await at('TLSv1.1'))).toMatch(/no trusted TLS connection to .*\(ERR_SSL_\w+\)/);
    expect((await bytes(app(await at('TLSv1.2')), HI.length)).toString()).toBe(HI);
  });
});

/** One session, until both sides have ended; whether TLS was resumed. */
async function session(socketPath: string): Promise<void> {
  const socket = app(socketPath);
  await bytes(socket, HI.length);
  socket.end('QUIT\r\n');
  expect((await untilEnd(socket)).toString()).toBe('QUIT\r\n');
}

describe('sessions are resumed', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`${version}: from the second connection on, and the certificate is known on the first only`, async () => {
      const ca = await authority();
      const context = contextOf(await certificate(ca), { minVersion: version, maxVersion: version });
      const place = await tlsServer(context, echo(HI));
      const { socketPath } = await relayTo(place, ca.ca, { security: TLS });
      for (let i = 0; i < 3; i++) await session(socketPath);
      expect(place.resumed).toEqual([false, true, true]);
    });
  }

  it('not for another name, nor where it was not verified before', async () => {
    const ca = await authority();
    const place = await tlsServer(contextOf(await certificate(ca, { names: [NAME, 'alias.example'] })), echo(HI));
    const routes: Record<string, RelayTarget['security']> = {
      'smtp-1': TLS,
      'smtp-2': { ...TLS, name: 'alias.example' },
      'smtp-3': { ...TLS, verify: false },
    };
    const target = (id: string): RelayTarget => ({
      destination: id,
      protocol: 'smtp',
      host: NAME,
      port: place.port,
      connectTimeoutMs: 5_000,
      hello: 'x',
      security: routes[id] ?? TLS,
    });
    const { socketPath } = await relay(
      {},
      { ca: ca.ca, target, resolve: async () => ({ addresses: ['127.0.0.1'], keep: 1 }) },
    );
    for (const id of ['smtp-3', 'smtp-1', 'smtp-2', 'smtp-1']) {
      const socket = app(socketPath, id);
      await bytes(socket, HI.length);
      socket.end();
      await untilEnd(socket);
    }
    expect(place.resumed).toEqual([false, false, false, true]);
  });

  it("only where the session's certificate is for the name: else it must be shown again", async () => {
    const ca = await authority();
    const place = await tlsServer(contextOf(await certificate(ca)), echo(HI));
    const keep = vi.spyOn(TlsSessions.prototype, 'keep');
    const get = vi.spyOn(TlsSessions.prototype, 'get');
    afterwards(() => vi.restoreAllMocks());
    const { socketPath } = await relayTo(place, ca.ca, { security: TLS });
    await session(socketPath);
    const kept = keep.mock.calls.at(-1)?.[1] as TlsSession;
    const certificates = [kept.certificate, { ...kept.certificate, subjectaltname: 'DNS:other.example' }];
    for (const shown of certificates) {
      get.mockReturnValue({ ...kept, certificate: shown });
      await session(socketPath);
    }
    expect(place.resumed).toEqual([false, true, false]);
  });

  it('not after one that failed: the server may not like the session', async () => {
    const ca = await authority();
    const context = contextOf(await certificate(ca));
    let broken = false;
    const accept = await tlsServer(context, echo(HI));
    const place = await server((socket) => {
      if (broken) socket.once('data', () => socket.end());
      else accept.protect(socket);
    });
    const { socketPath } = await relayTo(place, ca.ca, { security: TLS });
    await session(socketPath);
    broken = true;
    expect(await seen(socketPath)).toContain('it closed the connection during the handshake');
    broken = false;
    await session(socketPath);
    await session(socketPath);
    expect(accept.resumed).toEqual([false, false, true]);
  });
});

describe('the sessions kept', () => {
  const session = Buffer.from('session');
  const DAY = 86_400_000;
  const certificate = { subject: { CN: NAME } as PeerCertificate['subject'] };
  const proof = (ms: number) =>
    proofOf({ ...certificate, valid_to: new Date(Date.now() + ms).toUTCString() } as PeerCertificate);
  const until = (ms: number) => ({ session, certificate, until: Date.now() + ms });

  it('are one a key, until the certificate expires or an hour has passed', () => {
    vi.useFakeTimers({ now: 1_800_000_000_000 });
    afterwards(() => vi.useRealTimers());
    expect(proof(DAY).until - Date.now()).toBe(3_600_000);
    expect(proof(5000).until - Date.now()).toBe(5000);
    expect(proofOf({ ...certificate, valid_to: '?' } as PeerCertificate).until).toBe(0);
    const sessions = new TlsSessions();
    sessions.keep('a', until(1000));
    vi.advanceTimersByTime(999);
    expect(sessions.get('a')?.session).toBe(session);
    vi.advanceTimersByTime(1);
    expect(sessions.get('a')).toBeUndefined();
  });

  it('are at most 1,000: the one used longest ago goes', () => {
    const sessions = new TlsSessions();
    for (let i = 0; i < 1000; i++) sessions.keep(`${i}`, until(DAY));
    const isKept = (key: string) => sessions.get(key) !== undefined;
    expect(isKept('0')).toBe(true);
    sessions.keep('new', until(DAY));
    expect(['0', '1', '2', 'new'].map(isKept)).toEqual([true, false, true, true]);
  });
});

describe('on-premise', () => {
  for (const protocol of PROTOCOLS) {
    it(`${protocol} with TLS inside the tunnel`, async () => {
      const ca = await authority();
      const greeting = `${GREETINGS[protocol]}\r\n`;
      const place = await tlsServer(contextOf(await certificate(ca)), echo(greeting));
      const { socketPath, log } = await relayThroughProxy(place, ca.ca, { protocol, security: TLS });
      const socket = app(socketPath);
      socket.end('NOOP\r\n');
      expect((await untilEnd(socket)).toString()).toBe(`${greeting}NOOP\r\n`);
      expect(place.secured[0]?.servername).toBe(NAME);
      expect(log).toEqual([{ host: 'mail.virtual', port: 25, location: '', code: 0 }]);
    });
  }

  it('a certificate for another name is refused in the tunnel too', async () => {
    const ca = await authority();
    const place = await tlsServer(contextOf(await certificate(ca, { names: ['mail.virtual'] })), echo(HI));
    const wrong = await relayThroughProxy(place, ca.ca, { security: TLS });
    expect(await seen(wrong.socketPath)).toContain(OTHER_NAME);
    const right = await relayThroughProxy(place, ca.ca, { security: { ...TLS, name: 'mail.virtual' } });
    expect((await bytes(app(right.socketPath), HI.length)).toString()).toBe(HI);
  });
});
