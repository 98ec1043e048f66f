import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { jwtVerifier } from '../../../demo/connectivity-proxy/jwt.ts';
import { type ConnectivityProxyOptions, startConnectivityProxy } from '../../../demo/connectivity-proxy.ts';
import { afterwards, bytes, client, deadPort, server, untilEnd } from './world.ts';

const JWT = 'header.payload.signature';
const OK_METHOD = '0580';
const OK_AUTH = '0100';
const replied = (code: number) => `05${code.toString(16).padStart(2, '0')}0001000000000000`;

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const GREETING = hex('05 01 80');
const AUTH = authentication(JWT, 'site-1');
const CONNECT = connectTo('mail.virtual', 25);

function authentication(jwt: string, location: string, raw = Buffer.from(location).toString('base64')): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(jwt.length);
  return Buffer.concat([hex('01'), length, Buffer.from(jwt), Buffer.from([raw.length]), Buffer.from(raw)]);
}

function connectTo(host: string, port: number): Buffer {
  return Buffer.concat([
    hex('05 01 00 03'),
    Buffer.from([host.length]),
    Buffer.from(host),
    Buffer.from([port >> 8, port & 255]),
  ]);
}

async function proxy(changes: Partial<ConnectivityProxyOptions> = {}) {
  const mail = await server((socket) => {
    socket.write('220 mail\r\n');
    socket.pipe(socket);
  });
  const running = await startConnectivityProxy({
    tokens: { accept: (jwt) => jwt === JWT },
    locations: ['', 'site-1'],
    hosts: {
      'mail.virtual:25': mail,
      '10.1.2.3:25': mail,
      'dead.virtual:25': { host: '127.0.0.1', port: await deadPort() },
    },
    ...changes,
  });
  afterwards(() => running.close());
  return running;
}

/** All that the proxy answers to these bytes, until it closes. */
async function answer(sent: Buffer, changes: Partial<ConnectivityProxyOptions> = {}): Promise<string> {
  const running = await proxy(changes);
  const socket = client({ host: '127.0.0.1', port: running.port });
  socket.write(sent);
  return (await untilEnd(socket)).toString('hex');
}

const AUTHENTICATED = Buffer.concat([GREETING, AUTH]);
const REFUSED_AUTH = `${OK_METHOD}0101`;
const afterAuth = (code: number) => OK_METHOD + OK_AUTH + replied(code);
const request = (text: string) => Buffer.concat([AUTHENTICATED, hex(text)]);

describe('malformed handshakes, and what they are answered', () => {
  const cases: Record<string, [Buffer, string]> = {
    SOCKS4: [hex('04 01 0019 7f000001 00'), ''],
    HTTP: [Buffer.from('CONNECT mail.virtual:25 HTTP/1.1\r\n\r\n'), ''],
    'a mail command': [Buffer.from('EHLO x\r\n'), ''],
    'no methods': [hex('05 00'), '05ff'],
    'no authentication only': [hex('05 01 00'), '05ff'],
    'user and password only': [hex('05 01 02'), '05ff'],
    'methods without 0x80': [hex('05 03 00 01 02'), '05ff'],
    'method 0x81': [hex('05 01 81'), '05ff'],
    'authentication version 0': [Buffer.concat([GREETING, hex('00 00000001 41 00')]), REFUSED_AUTH],
    'RFC 1929 user and password': [Buffer.concat([GREETING, hex('05 01 41 01 42')]), REFUSED_AUTH],
    'a token length of 4 GiB': [Buffer.concat([GREETING, hex('01 ffffffff 41')]), REFUSED_AUTH],
    'a token length in little endian': [
      Buffer.concat([GREETING, hex('01 18000000'), Buffer.from(JWT), hex('00')]),
      REFUSED_AUTH,
    ],
    'no token': [Buffer.concat([GREETING, authentication('', '')]), REFUSED_AUTH],
    'a wrong token': [Buffer.concat([GREETING, authentication('other', '')]), REFUSED_AUTH],
    'a token with "Bearer "': [Buffer.concat([GREETING, authentication(`Bearer ${JWT}`, '')]), REFUSED_AUTH],
    'a location id in the clear': [Buffer.concat([GREETING, authentication(JWT, '', 'site-1')]), REFUSED_AUTH],
    'a location id in base64url': [Buffer.concat([GREETING, authentication(JWT, '', '-_-_')]), REFUSED_AUTH],
    'a location id without padding': [Buffer.concat([GREETING, authentication(JWT, '', 'YQ')]), REFUSED_AUTH],
    'a request of SOCKS4': [request('04 01 00 03'), afterAuth(1)],
    BIND: [request('05 02 00 03'), afterAuth(7)],
    'UDP ASSOCIATE': [request('05 03 00 03'), afterAuth(7)],
    'command 0': [request('05 00 00 03'), afterAuth(7)],
    'a reserved octet that is not 0': [request('05 01 01 03'), afterAuth(1)],
    'an IPv6 address': [request(`05 01 00 04 ${'00'.repeat(15)}01 0019`), afterAuth(8)],
    'address type 2': [request('05 01 00 02'), afterAuth(8)],
    'a host of no octets': [request('05 01 00 03 00 0019'), afterAuth(1)],
    'a host with a line end': [request('05 01 00 03 02 410a 0019'), afterAuth(1)],
    'port 0': [Buffer.concat([AUTHENTICATED, connectTo('mail.virtual', 0)]), afterAuth(1)],
  };
  for (const [name, [sent, expected]] of Object.entries(cases)) {
    it(name, async () => expect(await answer(sent)).toBe(expected));
  }

  it('closes a handshake that is never finished', async () => {
    expect(await answer(AUTHENTICATED.subarray(0, 9), { handshakeMs: 50 })).toBe(OK_METHOD);
  });
});

describe('correct handshakes that are refused', () => {
  const to = (host: string, port = 25) => Buffer.concat([AUTHENTICATED, connectTo(host, port)]);
  it('1: the mail server closes at once', async () => {
    const closing = await server((socket) => socket.end());
    const changes = { hosts: { 'mail.virtual:25': closing }, firstBytesWithReply: true };
    expect(await answer(to('mail.virtual'), changes)).toBe(afterAuth(1));
  });
  it('2: a host, and a port, that is not exposed', async () => {
    expect(await answer(to('other.virtual'))).toBe(afterAuth(2));
    expect(await answer(to('mail.virtual', 26))).toBe(afterAuth(2));
    expect(await answer(to('localhost'))).toBe(afterAuth(2));
  });
  it('3: an unknown location id, and no Cloud Connector at all', async () => {
    const unknown = Buffer.concat([GREETING, authentication(JWT, 'site-2'), CONNECT]);
    expect(await answer(unknown)).toBe(afterAuth(3));
    expect(await answer(to('mail.virtual'), { locations: [] })).toBe(afterAuth(3));
  });
  it('4: the mail server refuses the connection', async () => {
    expect(await answer(to('dead.virtual'))).toBe(afterAuth(4));
  });
  it('5: by configuration', async () => {
    expect(await answer(to('mail.virtual'), { replies: { 'mail.virtual:25': 5 } })).toBe(afterAuth(5));
  });
});

describe('the twins that are let in', () => {
  const head = OK_METHOD + OK_AUTH + replied(0);
  async function greeted(parts: Buffer[], length: number, changes: Partial<ConnectivityProxyOptions> = {}) {
    const running = await proxy(changes);
    const socket = client({ host: '127.0.0.1', port: running.port });
    for (const part of parts) socket.write(part);
    const got = (await bytes(socket, length + 10)).toString('latin1');
    return {
      socket,
      head: Buffer.from(got.slice(0, -10), 'latin1').toString('hex'),
      greeting: got.slice(-10),
      log: running.log,
    };
  }

  it("SAP's documented bytes", async () => {
    const { log, ...got } = await greeted([GREETING, AUTH, CONNECT], 14);
    expect(got).toMatchObject({ head, greeting: '220 mail\r\n' });
    expect(log).toEqual([{ host: 'mail.virtual', port: 25, location: 'site-1', code: 0 }]);
  });
  it('the offer of npm socks, no location id, an IPv4 address', async () => {
    const { log, ...got } = await greeted(
      [hex('05 02 00 80'), authentication(JWT, ''), hex('05 01 00 01 0a010203 0019')],
      14,
    );
    expect(got).toMatchObject({ head, greeting: '220 mail\r\n' });
    expect(log).toEqual([{ host: '10.1.2.3', port: 25, location: '', code: 0 }]);
  });
  it('byte by byte', async () => {
    const all = Buffer.concat([GREETING, AUTH, CONNECT]);
    expect(
      await greeted(
        [...all].map((byte) => Buffer.from([byte])),
        14,
      ),
    ).toMatchObject({ head, greeting: '220 mail\r\n' });
  });
  it('the mail server heard in the same write as the reply', async () => {
    expect(await greeted([AUTHENTICATED, CONNECT], 14, { firstBytesWithReply: true })).toMatchObject({
      greeting: '220 mail\r\n',
    });
  });
  it('a proxy that trusts its network: length 0 with 0x80, or no authentication', async () => {
    const none = authentication('', 'site-1');
    expect(await greeted([GREETING, none, CONNECT], 14, { tokens: 'none' })).toMatchObject({ head });
    const changes = { tokens: 'none', noAuthMethod: true } as const;
    expect(await greeted([hex('05 02 00 80'), CONNECT], 12, changes)).toMatchObject({ head: `0500${replied(0)}` });
    expect(await answer(GREETING, changes)).toBe('05ff');
  });
  it('passes both ends of stream on', async () => {
    const { socket } = await greeted([GREETING, AUTH, CONNECT], 14);
    socket.end('QUIT\r\n');
    expect((await untilEnd(socket)).toString()).toBe('QUIT\r\n');
  });
});

describe('tokens that are verified', async () => {
  const pair = await generateKeyPair('RS256');
  const stranger = await generateKeyPair('RS256');
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), alg: 'RS256' }] });
  const claims = { zid: 'tenant-1', aud: ['sb-connectivity', 'other'] };
  const sign = (payload: JWTPayload, expires = '1h', key = pair.privateKey) =>
    new SignJWT(payload).setProtectedHeader({ alg: 'RS256' }).setExpirationTime(expires).sign(key);
  const unsigned = () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'none' })}.${part({ ...claims, exp: Math.floor(Date.now() / 1000) + 60 })}.`;
  };

  /** The proxy's answer to a whole handshake with this token, and its log. */
  async function tunnel(jwt: string, host = 'mail.virtual') {
    const mail = await server((socket) => socket.end('220 mail\r\n'));
    const running = await proxy({
      tokens: { verify: jwtVerifier({ keys, audience: 'sb-connectivity' }) },
      tenants: {
        'tenant-1': { locations: ['site-1'], hosts: { 'mail.virtual:25': mail } },
        'tenant-2': { locations: ['site-1'], hosts: { 'other.virtual:25': mail } },
      },
    });
    const socket = client({ host: '127.0.0.1', port: running.port });
    socket.write(Buffer.concat([GREETING, authentication(jwt, 'site-1'), connectTo(host, 25)]));
    return { answer: (await untilEnd(socket)).toString('hex'), log: running.log };
  }

  it('lets a tenant reach what its own Cloud Connector exposes, and writes down whose token it was', async () => {
    const { answer: got, log } = await tunnel(await sign(claims));
    expect(got).toBe(`${afterAuth(0)}${Buffer.from('220 mail\r\n').toString('hex')}`);
    expect(log).toEqual([{ host: 'mail.virtual', port: 25, location: 'site-1', tenant: 'tenant-1', code: 0 }]);
  });
  it('2: a host of another tenant only; 3: a tenant without a Cloud Connector', async () => {
    expect(await tunnel(await sign({ ...claims, zid: 'tenant-2' }))).toMatchObject({ answer: afterAuth(2) });
    expect(await tunnel(await sign(claims), 'other.virtual')).toMatchObject({ answer: afterAuth(2) });
    expect(await tunnel(await sign({ ...claims, zid: 'constructor' }))).toMatchObject({ answer: afterAuth(3) });
  });
  const bad: Record<string, () => Promise<string>> = {
    'that expired': () => sign(claims, '-1s'),
    'for another audience': () => sign({ ...claims, aud: ['sb-destination'] }),
    'without an audience': () => sign({ zid: 'tenant-1' }),
    'without a tenant': () => sign({ aud: claims.aud }),
    'with an empty tenant': () => sign({ ...claims, zid: '' }),
    'of another signer': () => sign(claims, '1h', stranger.privateKey),
    'that nobody signed': async () => unsigned(),
    'that was changed': async () => (await sign(claims)).replace(/\.[^.]*\./, `.${unsigned().split('.')[1]}.`),
    'that is no JWT': async () => JWT,
  };
  for (const [name, jwt] of Object.entries(bad)) {
    it(`refuses one ${name}`, async () => {
      expect(await tunnel(await jwt())).toEqual({ answer: REFUSED_AUTH, log: [] });
    });
  }
});
