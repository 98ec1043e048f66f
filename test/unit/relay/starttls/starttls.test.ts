import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { IssueOptions } from '../../../../demo/certificates.ts';
import type { Protocol } from '../../../../sidecar-auth/failure.ts';
import { ownGreeting } from '../../../../sidecar-auth/relay/starttls/greeting.ts';
import type { RelayTarget } from '../../../../sidecar-auth/relay-target.ts';
import {
  authority,
  certificate,
  contextOf,
  echo,
  GREETINGS,
  NAME,
  OWN,
  PROTOCOLS,
  relayThroughProxy,
  relayTo,
  type Script,
  STARTTLS,
  startTlsServer,
} from '../secure-world.ts';
import { app, bytes, client, fill, proxyHeader, SENT, seen, server, untilEnd } from '../world.ts';

interface Setting extends Partial<Script> {
  protocol?: Protocol;
  issue?: IssueOptions;
  target?: Partial<RelayTarget>;
  mail?: (socket: Socket) => void;
}

async function world({ protocol = 'smtp', issue, target, mail = echo(), ...script }: Setting = {}) {
  const ca = await authority();
  const place = await startTlsServer(contextOf(await certificate(ca, issue)), { protocol, ...script }, mail);
  return { place, ca, ...(await relayTo(place, ca.ca, { protocol, security: STARTTLS, ...target })) };
}

const IN_CLEAR: Record<Protocol, string> = {
  smtp: 'EHLO app.example\r\nSTARTTLS\r\n',
  imap: 'p1 STARTTLS\r\n',
  pop3: 'STLS\r\n',
};
const GO_AHEAD: Record<Protocol, Record<string, string>> = {
  smtp: { STARTTLS: '220 go' },
  imap: { STARTTLS: 'p1 OK go' },
  pop3: { STLS: '+OK go' },
};
const INJECTED: Record<Protocol, string> = { smtp: '250 EVIL', imap: '* OK [ALERT] EVIL', pop3: '+OK EVIL' };
const withInjected = (protocol: Protocol) =>
  Object.fromEntries(
    Object.entries(GO_AHEAD[protocol]).map(([command, answer]) => [command, `${answer}\r\n${INJECTED[protocol]}`]),
  );

for (const protocol of PROTOCOLS) {
  describe(`${protocol} with STARTTLS`, () => {
    it('greets in its own words, and hands on under TLS what the app said early', async () => {
      const { socketPath, place } = await world({ protocol });
      const socket = client({ path: socketPath });
      const early = 'early\r\n'.repeat(20_000);
      socket.write(Buffer.concat([proxyHeader([0xe0, 'smtp-1']), Buffer.from(early)]));
      const got = await bytes(socket, OWN[protocol].length + early.length);
      expect(got.toString()).toBe(OWN[protocol] + early);
      expect(place.clear()).toBe(IN_CLEAR[protocol]);
      expect(place.secured[0]).toMatchObject({ servername: NAME, alpnProtocol: false });
    });

    it('takes a server that sends octet by octet', async () => {
      const { socketPath, place } = await world({ protocol, slowly: true });
      expect((await bytes(app(socketPath), OWN[protocol].length)).toString()).toBe(OWN[protocol]);
      expect(place.clear()).toBe(IN_CLEAR[protocol]);
    });

    it('passes both ends of stream on', async () => {
      const heard = Promise.withResolvers<string>();
      const mail = (socket: Socket) => {
        socket.end('bye\r\n');
        untilEnd(socket).then((got) => heard.resolve(got.toString()), heard.reject);
      };
      const socket = app((await world({ protocol, mail })).socketPath);
      expect((await untilEnd(socket)).toString()).toBe(`${OWN[protocol]}bye\r\n`);
      socket.end('last words');
      expect(await heard.promise).toBe('last words');
    });

    it('resumes the TLS session of the connection before', async () => {
      const { socketPath, place } = await world({ protocol });
      for (let i = 0; i < 2; i++) {
        const socket = app(socketPath);
        socket.end('x');
        expect((await untilEnd(socket)).toString()).toBe(`${OWN[protocol]}x`);
      }
      expect(place.resumed).toEqual([false, true]);
    });

    it('refuses a certificate that is not right; accepts it where the target does not verify', async () => {
      const issues: IssueOptions[] = [{ expired: true }, { names: ['other.example'] }, { selfSigned: true }];
      for (const issue of issues) {
        const { socketPath, place, ca } = await world({ protocol, issue });
        expect(await seen(socketPath)).toMatch(
          /postern: office-mail: tls: no trusted TLS connection to .*its certificate /,
        );
        expect(place.clear()).toBe(IN_CLEAR[protocol]);
        const loose = await relayTo(place, ca.ca, { protocol, security: { ...STARTTLS, verify: false } });
        expect((await bytes(app(loose.socketPath), OWN[protocol].length)).toString()).toBe(OWN[protocol]);
      }
    });

    it('drops what comes in one write with the go-ahead, and refuses the connection', async () => {
      for (const verify of [true, false]) {
        const target = { security: { ...STARTTLS, verify } };
        const { socketPath, place } = await world({ protocol, answers: withInjected(protocol), target });
        const line = await seen(socketPath);
        expect(line).toContain('tls: the server sent more than its answer');
        expect(line).not.toContain('EVIL');
        expect(place.clear()).toBe(IN_CLEAR[protocol]);
        expect(place.secured).toEqual([]);
      }
    });

    it('drops what comes in a write of its own before the handshake, and refuses the connection', async () => {
      const { socketPath } = await world({ protocol, afterwards: `${INJECTED[protocol]}\r\n` });
      const line = await seen(socketPath);
      expect(line).toMatch(
        /tls: (the server sent more than its answer|no trusted TLS connection to .* it speaks plain text)/,
      );
      expect(line).not.toContain('EVIL');
    });

    it('refuses a server that says all of its part at once', async () => {
      const [goAhead] = Object.values(GO_AHEAD[protocol]);
      const { socketPath, place } = await world({ protocol, greeting: `${GREETINGS[protocol]}\r\n${goAhead}` });
      expect(await seen(socketPath)).toContain('tls: the server sent more than its answer');
      expect(place.clear()).toBe('');
    });

    it('never goes on in clear where STARTTLS is not offered, or refused', async () => {
      const none: Record<string, string> = { EHLO: '250 mail', STARTTLS: 'p1 BAD EVIL', STLS: '-ERR EVIL' };
      const without = await world({ protocol, answers: none });
      expect(await seen(without.socketPath)).toContain(' tls: the server does not offer ');
      expect(IN_CLEAR[protocol].startsWith(without.place.clear())).toBe(true);
      if (protocol === 'pop3') return; // its -ERR does not tell why
      const denied = { smtp: '454 EVIL', imap: 'p1 NO EVIL' }[protocol];
      const refusing = await world({ protocol, answers: { STARTTLS: denied } });
      expect(await seen(refusing.socketPath)).toContain(' tls: the server refused ');
      expect(refusing.place.clear()).toBe(IN_CLEAR[protocol]);
    });

    it("works inside the SOCKS5 tunnel, also where the greeting comes with the proxy's reply", async () => {
      for (const firstBytesWithReply of [false, true]) {
        const ca = await authority();
        const place = await startTlsServer(contextOf(await certificate(ca)), { protocol }, echo());
        const target = { protocol, security: STARTTLS };
        const { socketPath, log } = await relayThroughProxy(place, ca.ca, target, firstBytesWithReply);
        const socket = app(socketPath);
        const greeting = OWN[protocol].replace(NAME, 'mail.virtual');
        socket.end('NOOP\r\n');
        expect((await untilEnd(socket)).toString()).toBe(`${greeting}NOOP\r\n`);
        expect(place.clear()).toBe(IN_CLEAR[protocol]);
        expect(log).toEqual([expect.objectContaining({ host: 'mail.virtual', port: 25, code: 0 })]);
      }
    });

    it('refuses injected bytes inside the tunnel too', async () => {
      const ca = await authority();
      const script = { protocol, answers: withInjected(protocol) };
      const place = await startTlsServer(contextOf(await certificate(ca)), script, echo());
      const { socketPath } = await relayThroughProxy(place, ca.ca, { protocol, security: STARTTLS }, true);
      expect(await seen(socketPath)).toContain('tls: the server sent more than its answer');
    });
  });
}

describe('what a server says before TLS becomes a line of ours', () => {
  const cases: [Protocol, string, string][] = [
    [
      'smtp',
      '421 EVIL',
      '421 4.3.0 postern: office-mail: server_unavailable: the server said in its greeting that it is not available\r\n',
    ],
    [
      'smtp',
      '554 EVIL',
      '421 4.3.0 postern: office-mail: server_greeting: the server refused the connection in its greeting\r\n',
    ],
    ['smtp', '* OK EVIL', '421 4.3.0 postern: office-mail: server_greeting: the server did not greet in SMTP\r\n'],
    [
      'imap',
      '* BYE EVIL',
      '* BYE [UNAVAILABLE] postern: office-mail: server_unavailable: the server said in its greeting that it is not available\r\n',
    ],
    [
      'imap',
      '* PREAUTH EVIL',
      '* BYE [UNAVAILABLE] postern: office-mail: tls: the server greeted with PREAUTH, in which no TLS can begin\r\n',
    ],
    [
      'pop3',
      '-ERR EVIL',
      '-ERR [SYS/TEMP] postern: office-mail: server_unavailable: the server said in its greeting that it is not available\r\n',
    ],
  ];
  for (const [protocol, greeting, line] of cases) {
    it(`${protocol}: ${greeting}`, async () => {
      const { socketPath, place, logged } = await world({ protocol, greeting });
      expect(await seen(socketPath)).toBe(line);
      expect(place.clear()).toBe('');
      expect(JSON.stringify(logged)).not.toContain('EVIL');
    });
  }
});

describe('a server that', () => {
  it('closes before its greeting, or instead of an answer', async () => {
    const before = await server((socket) => socket.end());
    const first = await relayTo(before, '', { security: STARTTLS });
    expect(await seen(first.socketPath)).toContain(
      'server_greeting: the server closed the connection before its greeting',
    );
    const after = await server((socket) => socket.once('data', () => socket.end()).write('220 mail\r\n'));
    const second = await relayTo(after, '', { security: STARTTLS });
    expect(await seen(second.socketPath)).toContain('server_unavailable: the server closed the connection before TLS');
  });

  it('never greets, never answers, or never begins TLS: one deadline for all', async () => {
    const target = { security: STARTTLS, connectTimeoutMs: 200 };
    const silent = await server((socket) => socket.resume());
    expect(await seen((await relayTo(silent, '', target)).socketPath)).toContain(
      'server_greeting: the server did not greet within 200 ms',
    );
    const mute = await server((socket) => socket.resume().write('220 mail\r\n'));
    expect(await seen((await relayTo(mute, '', target)).socketPath)).toContain(
      'tls: the server did not agree to TLS within 200 ms',
    );
    const answers = ['250-mail\r\n250 STARTTLS\r\n', '220 go\r\n'];
    const lazy = await server((socket) =>
      socket.on('data', () => socket.write(answers.shift() ?? '')).write('220 mail\r\n'),
    );
    expect(await seen((await relayTo(lazy, '', target)).socketPath)).toContain(
      'did not finish the TLS handshake within 200 ms',
    );
  });

  it('keeps a trickle of lines going: the deadline still holds', async () => {
    const trickle = await server((socket) => {
      const timer = setInterval(() => socket.write('220-more\r\n'), 20);
      socket
        .resume()
        .once('close', () => clearInterval(timer))
        .once('end', () => socket.end());
    });
    const { socketPath } = await relayTo(trickle, '', { security: STARTTLS, connectTimeoutMs: 200 });
    expect(await seen(socketPath)).toContain('tls: the server did not agree to TLS within 200 ms');
  });
});

describe('while TLS is not there', () => {
  it('an app that talks is held back, and its bytes then arrive in full', async () => {
    const proceed = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<number>();
    const mail = (socket: Socket) => {
      let count = 0;
      socket.on('data', (chunk) => {
        count += chunk.length;
      });
      socket.once('end', () => arrived.resolve(count));
    };
    const ca = await authority();
    const place = await startTlsServer(contextOf(await certificate(ca)), { protocol: 'smtp' }, mail);
    const slow = await server(async (socket) => {
      socket.pause();
      await proceed.promise;
      const behind = client(place);
      behind.pipe(socket);
      socket.pipe(behind);
    });
    const { socketPath } = await relayTo(slow, ca.ca, { security: STARTTLS });
    const socket = app(socketPath);
    const stalled = await fill(socket);
    expect(stalled).toBeLessThan(SENT / 2);
    proceed.resolve();
    socket.end();
    expect(await arrived.promise).toBe(stalled);
  });

  it('the relay, when it is closed, leaves no server behind', async () => {
    const asked = Promise.withResolvers<Socket>();
    const mute = await server((socket) => socket.once('data', () => asked.resolve(socket)).write('220 mail\r\n'));
    const { socketPath, close } = await relayTo(mute, '', { security: STARTTLS });
    app(socketPath);
    const ended = once((await asked.promise).resume(), 'end');
    await close();
    await ended;
  });
});

it('the greeting of our own names the host as SMTP does', () => {
  expect(ownGreeting({ protocol: 'smtp', host: 'mail.example' })).toBe('220 mail.example ESMTP\r\n');
  expect(ownGreeting({ protocol: 'smtp', host: '192.0.2.1' })).toBe('220 [192.0.2.1] ESMTP\r\n');
  expect(ownGreeting({ protocol: 'smtp', host: '2001:db8::1' })).toBe('220 [IPv6:2001:db8::1] ESMTP\r\n');
});
