// docs/contract.md, as the compiled filter keeps it; helper.test.ts is the other side.
import { describe, expect, test } from 'vitest';
import { fields, sessionAnswer } from '../runners/answer.ts';
import { parse } from '../runners/dialog.ts';
import { type Call, type FakeConnection, FakeHost } from '../runners/fake-host.ts';

const ADDRESS = 'envoy.network.transport_socket.original_dst_address';
const CLUSTER = 'envoy.tcp_proxy.cluster';
const GREETING = Buffer.from('220 mx.example ESMTP\r\n');
const basic = parse('smtp', 'basic', '# basic\n---\n');
const bearer = parse('smtp', 'bearer', '# bearer\nlogin: bearer jane access-1\n---\n');

const ROUTE = sessionAnswer(basic);
const KIB_64 = 65_536;

type Extra = Record<string, string | string[]>;

function only(host: FakeHost, path: string): Call {
  const [call, ...more] = host.callsTo(path);
  if (!call || more.length > 0) throw new Error(`${host.callsTo(path).length} calls to ${path}`);
  return call;
}

/** A connection of a fresh VM whose session is answered by this body. */
function answered(body: string, status = '200'): { host: FakeHost; root: number; connection: FakeConnection } {
  const host = new FakeHost();
  const root = host.listener('smtp:one');
  const connection = host.connect(root);
  host.answer(only(host, '/v1/sessions'), body, status);
  return { host, root, connection };
}

function clusterOf(body: string, status?: string): string | undefined {
  return answered(body, status).connection.filterState.get(CLUSTER);
}

function fallbackSays(host: FakeHost, connection: FakeConnection): string {
  connection.properties.set('xds\0cluster_name\0', 'postern-fallback-smtp');
  host.serverSays(connection, Buffer.from('421 static\r\n'), true);
  return connection.toApp;
}

/** The route, and a line that nobody knows, so long that the body has this many octets. */
function padded(octets: number): string {
  const key = 'unknown: ';
  const room = octets - ROUTE.length - key.length - 1;
  const value = 'A'.repeat(room - (room % 4));
  // Base64 comes in fours: the key takes what is left.
  return `${ROUTE}${'x'.repeat(room % 4)}${key}${value}\n`;
}

describe('bodies', () => {
  test.each([
    ['a line without a colon', 'nonsense\n'],
    ['a line without a key', ': YQ==\n'],
    ['an empty line', '\n'],
    ['no space behind the colon', 'more:YQ==\n'],
    ['two spaces behind the colon', 'more:  YQ==\n'],
    ['a space behind the value', 'more: YQ== \n'],
    ['CRLF', 'more: YQ==\r\n'],
    ['base64 without padding', 'more: YQ\n'],
    ['base64 with padding in the middle', 'more: YQ==YQ==\n'],
    ['base64url', 'more: _-8=\n'],
    ['text that is no base64', 'more: a b=\n'],
    ['a key in capital letters', 'MORE: YQ==\n'],
    ['a capital letter in a key', 'moRe: YQ==\n'],
    ['an underscore in a key', 'mo_re: YQ==\n'],
    ['a space in a key', 'mo re: YQ==\n'],
    ['a NUL in a key', 'mo\0re: YQ==\n'],
    ['no LF behind the last line', 'more: YQ=='],
    ['a key alone at the end', 'more'],
  ])('%s makes the whole body invalid, wherever it stands', (_, line) => {
    const bodies = line.endsWith('\n') ? [ROUTE + line, line + ROUTE] : [ROUTE + line];
    for (const body of bodies) {
      const { host, root, connection } = answered(body);
      expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
      expect(connection.filterState.has(ADDRESS)).toBe(false);
      expect(fallbackSays(host, connection)).toMatch(/^421 4\.3\.0 postern: unknown: internal: [^\r\n]*\r\n$/);
      // Nothing is kept.
      expect(host.connect(root).connecting).toBe(false);
    }
  });

  test.each([
    ['a key that nobody knows', 'more: YQ==\n'],
    ['one with every character that a key may have', 'abc.xyz-019: YQ==\n'],
    ['an empty value', 'more: \n'],
    ['every octet in a value', fields({ more: String.fromCharCode(...Array(256).keys()) })],
    ['the same unknown key again', 'more: YQ==\nmore: Yg==\n'],
  ])('the twin: %s is ignored', (_, line) => {
    expect(clusterOf(ROUTE + line)).toBe('postern-direct');
    expect(clusterOf(line + ROUTE)).toBe('postern-direct');
  });

  test('64 KiB are read, one octet more is not', () => {
    expect(padded(KIB_64)).toHaveLength(KIB_64);
    expect(clusterOf(padded(KIB_64))).toBe('postern-direct');
    expect(padded(KIB_64 + 1)).toHaveLength(KIB_64 + 1);
    expect(clusterOf(padded(KIB_64 + 1))).toBe('postern-fallback-smtp');
  });

  test('a body of 16 MiB is refused, and does not trap', () => {
    expect(clusterOf(padded(16 << 20))).toBe('postern-fallback-smtp');
  });

  test('no body at all', () => {
    expect(clusterOf('')).toBe('postern-fallback-smtp');
  });
});

describe('only status 200 is accepted, and nothing of another answer is read', () => {
  const STATUSES = ['201', '204', '301', '400', '404', '409', '500', '503', '2000', '20', ''];

  test.each(STATUSES)('POST /v1/sessions: "%s"', (status) => {
    const { host, root, connection } = answered(fields({ failure: 'resolve', text: 'not read' }), status);
    expect(fallbackSays(host, connection)).toMatch(/^421 4\.3\.0 postern: unknown: internal: /);
    expect(host.connect(root).connecting).toBe(false);
    expect(clusterOf(ROUTE, status)).toBe('postern-fallback-smtp');
  });

  test.each(STATUSES)('GET /v1/changes: "%s"', (status) => {
    const { host, root } = answered(ROUTE);
    host.answer(only(host, '/v1/changes'), fields({ since: 'bootboot.7', all: '1' }), status);
    expect(host.connect(root).connecting).toBe(true);
    host.advance(1_000);
    expect(only(host, '/v1/changes').path).toBe('/v1/changes?since=0.0');
  });

  test.each(STATUSES)('POST /v1/rejections: "%s"', (status) => {
    const { host, connection } = answered(sessionAnswer(bearer));
    refuse(host, connection);
    const sent = connection.toServer.length;
    host.answer(only(host, '/v1/rejections'), sessionAnswer(bearer), status);
    expect(connection.toServer.slice(sent)).not.toContain('AUTH');
  });

  test('the twin: with 200 the new token is tried', () => {
    const { host, connection } = answered(sessionAnswer(bearer));
    refuse(host, connection);
    const sent = connection.toServer.length;
    host.answer(only(host, '/v1/rejections'), sessionAnswer(bearer));
    expect(connection.toServer.slice(sent)).toContain('AUTH');
  });

  function refuse(host: FakeHost, connection: FakeConnection): void {
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.serverSays(connection, Buffer.from('250-mx.example\r\n250 AUTH XOAUTH2\r\n'));
    host.serverSays(connection, Buffer.from('535 5.7.8 no\r\n'));
  }
});

describe('a session', () => {
  test('asks with the whole id, and nothing else', () => {
    const host = new FakeHost();
    const id = `smtp:${'a-Z_9'.repeat(12)}abcd`;
    host.connect(host.listener(id));
    expect(only(host, '/v1/sessions')).toMatchObject({ method: 'POST', body: fields({ listener: id }) });
  });

  test.each([
    ['deadline', '1000'],
    ['deadline', '600000'],
    ['limit', '1'],
    ['keep', '0'],
    ['keep', '120'],
  ])('%s %s is in range', (key, value) => {
    expect(clusterOf(sessionAnswer(basic, { [key]: value }))).toBe('postern-direct');
  });

  test.each([
    ['deadline', '0'],
    ['deadline', '999'],
    ['deadline', '600001'],
    ['deadline', '-1'],
    ['deadline', '2147483648'],
    ['deadline', '1e4'],
    ['deadline', ' 1000'],
    ['deadline', ''],
    ['deadline', []],
    ['limit', '0'],
    ['limit', '-1'],
    ['limit', '99999999999'],
    ['limit', []],
    ['keep', '121'],
    ['keep', '-1'],
    ['keep', '2147483647'],
    ['keep', []],
  ])('%s %j is not', (key, value) => {
    expect(clusterOf(sessionAnswer(basic, { [key]: value }))).toBe('postern-fallback-smtp');
  });

  test('the deadline is kept to the end of its range', () => {
    const { host, connection } = answered(sessionAnswer(basic, { deadline: '600000' }));
    host.advance(599_999);
    expect(connection.closed).toBe(false);
    host.advance(2_000);
    expect(connection.closed).toBe(true);
  });

  test('user and password of 1,024 octets log in, as they stand', () => {
    const octets = (first: number) =>
      Array.from({ length: 1024 }, (_, i) => String.fromCharCode(0x80 + ((first + i) % 0x80))).join('');
    const [user, password] = [octets(0), octets(64)];
    const plain = `\0${user}\0${password}`;
    const { host, connection } = answered(sessionAnswer(basic, { user, password, plain }));
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.serverSays(connection, Buffer.from('250-mx.example\r\n250 AUTH PLAIN\r\n'));
    host.serverSays(connection, Buffer.from('334 \r\n'));
    host.serverSays(connection, Buffer.from('235 2.7.0 welcome\r\n'));
    const response = Buffer.from(plain, 'latin1').toString('base64');
    expect(connection.toServer).toBe(`EHLO postern.test\r\nAUTH PLAIN\r\n${response}\r\nMAIL FROM:<a@example.org>\r\n`);
  });

  test('what the app must log in with may have 1,024 octets each; one octet less is wrong', () => {
    const [user, password] = ['u'.repeat(1024), 'p'.repeat(1024)];
    const login = (presented: string) => {
      const { host, connection } = answered(sessionAnswer(basic, { 'app.user': user, 'app.password': password }));
      host.serverSays(connection, GREETING);
      host.appSays(
        connection,
        Buffer.from(`AUTH PLAIN ${Buffer.from(`\0${user}\0${presented}`).toString('base64')}\r\n`),
      );
      return connection.toServer;
    };
    // The real login begins only after the app's own one was right.
    expect(login(password)).toBe('EHLO postern.test\r\n');
    expect(login(password.slice(1))).toBe('NOOP\r\n');
  });

  test('a destination of 128 and a text of 160 octets reach the app whole', () => {
    const [destination, text] = ['d'.repeat(128), 't'.repeat(160)];
    const { host, connection } = answered(fields({ failure: 'resolve', text, destination }));
    expect(fallbackSays(host, connection)).toBe(`421 4.4.3 postern: ${destination}: resolve: ${text}\r\n`);
  });

  test('a text that is no line stays one reply', () => {
    const { host, connection } = answered(fields({ failure: 'resolve', text: 'one\r\n250 two\0\x80' }));
    expect(fallbackSays(host, connection)).toMatch(/^421 4\.4\.3 postern: unknown: resolve: one {2}250 two\r\n$/);
  });

  test('a failure is never kept, and one that nobody knows is internal', () => {
    const { host, root, connection } = answered(fields({ failure: 'new_one', text: 'why', keep: '60' }));
    expect(fallbackSays(host, connection)).toBe('421 4.3.0 postern: unknown: internal: why\r\n');
    expect(host.connect(root).connecting).toBe(false);
  });

  test.each([
    ['neither direct nor relay', { to: 'elsewhere' }],
    ['no way', { to: [] }],
    ['direct without an address', { address: [] }],
    ['an address without a port', { address: '192.0.2.1' }],
    ['a name for an address', { address: 'mx.example:25' }],
  ] as [string, Extra][])('%s: no route', (_, extra) => {
    expect(clusterOf(sessionAnswer(basic, extra))).toBe('postern-fallback-smtp');
  });

  test('two addresses are tried in their order, then the fallback, and the last one is named', () => {
    expect(tried(['[2001:db8::1]:25', '192.0.2.1:25'])).toEqual({
      addresses: ['[2001:db8::1]:25', '192.0.2.1:25'],
      error: '421 4.4.1 postern: mail: connect: no connection to 192.0.2.1:25\r\n',
    });
  });

  test('a third address is not of the page: no route, or it is neither tried nor named', () => {
    const three = ['[2001:db8::1]:25', '192.0.2.1:25', '192.0.2.3:25'];
    if (clusterOf(sessionAnswer(basic, { address: three })) === 'postern-fallback-smtp') return;
    const { addresses, error } = tried(three);
    expect(addresses).not.toContain('192.0.2.3:25');
    expect(error).not.toContain('192.0.2.3');
  });

  /** What Envoy is pointed at, attempt by attempt, and what the app hears when all have failed. */
  function tried(address: string[]): { addresses: string[]; error: string } {
    const { host, connection } = answered(sessionAnswer(basic, { address }));
    const seen = new Set([connection.filterState.get(ADDRESS) ?? '']);
    for (let attempt = 1; attempt < 6; attempt++) {
      connection.properties.set('upstream\0request_attempt_count\0', String.fromCharCode(attempt));
      host.runQueue();
      host.advance(20);
      seen.add(connection.filterState.get(ADDRESS) ?? '');
    }
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    return { addresses: [...seen], error: fallbackSays(host, connection) };
  }
});

describe('changes', () => {
  /** The listener's route is kept; its poll waits. */
  function kept(): { host: FakeHost; root: number } {
    return answered(ROUTE);
  }

  const later = (host: FakeHost) => {
    host.advance(1_000);
    return only(host, '/v1/changes').path;
  };

  test('the first poll says 0.0, every later one what the last answer told', () => {
    const { host } = kept();
    expect(only(host, '/v1/changes')).toMatchObject({ method: 'GET', path: '/v1/changes?since=0.0', body: '' });
    for (const since of ['bootboot.0', 'bootboot.7', `${'aB3'.repeat(10)}zz.4294967296`]) {
      host.answer(only(host, '/v1/changes'), fields({ since }));
      expect(later(host)).toBe(`/v1/changes?since=${since}`);
    }
  });

  test('a failed poll does not lose the place', () => {
    const { host } = kept();
    host.answer(only(host, '/v1/changes'), fields({ since: 'bootboot.7' }));
    later(host);
    host.answer(only(host, '/v1/changes'), '', '503');
    expect(later(host)).toBe('/v1/changes?since=bootboot.7');
  });

  test.each([
    ['a malformed line', `${fields({ since: 'bootboot.7', all: '1' })}x\n`],
    ['a capital letter in a key', `${fields({ since: 'bootboot.7', all: '1' })}Mode: YQ==\n`],
    ['cut short', fields({ since: 'bootboot.7', all: '1' }).slice(0, -1)],
    ['without since', fields({ all: '1', listener: 'smtp:one' })],
    ['empty', ''],
    ['more than 64 KiB', fields({ since: 'bootboot.7', all: '1', more: 'x'.repeat(KIB_64) })],
  ])('%s: nothing is dropped, and the poll comes again as after a failure', (_, body) => {
    const { host, root } = kept();
    host.advance(1_000);
    host.answer(only(host, '/v1/changes'), body);
    expect(host.callsTo('/v1/changes')).toHaveLength(0);
    expect(host.connect(root).connecting).toBe(true);
    expect(later(host)).toBe('/v1/changes?since=0.0');
  });

  test('the twin: keys that nobody knows are ignored', () => {
    const { host, root } = kept();
    host.advance(1_000);
    host.answer(
      only(host, '/v1/changes'),
      fields({ more: 'x', since: 'bootboot.7', listener: ['smtp:two', 'smtp:one'] }),
    );
    expect(host.connect(root).connecting).toBe(false);
    expect(later(host)).toBe('/v1/changes?since=bootboot.7');
  });

  test('after failures it waits 100 ms, doubling to 5 s, and 100 ms again after an answer', () => {
    const { host } = kept();
    const gap = (status: string) => {
      host.answer(only(host, '/v1/changes'), fields({ since: 'bootboot.7' }), status);
      let milliseconds = 0;
      for (; host.callsTo('/v1/changes').length === 0; milliseconds += 5) host.advance(5);
      return milliseconds;
    };
    const waits = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
    // The filter looks at its clock every 250 ms.
    const expectGap = (milliseconds: number, wait: number) => {
      expect(milliseconds).toBeGreaterThanOrEqual(wait);
      expect(milliseconds).toBeLessThanOrEqual(wait + 250);
    };
    for (const wait of waits) expectGap(gap('503'), wait);
    host.advance(50_000);
    expect(gap('200')).toBe(0);
    host.advance(50_000);
    expectGap(gap('503'), 100);
  });

  test('never two polls within 20 ms, whatever is answered', () => {
    const { host } = kept();
    for (let poll = 0; poll < 20; poll++) {
      host.answer(only(host, '/v1/changes'), fields({ since: `bootboot.${poll}` }), poll % 3 === 2 ? '503' : '200');
      host.advance(19);
      if (poll === 0) expect(host.callsTo('/v1/changes')).toHaveLength(0);
      let waited = 19;
      for (; host.callsTo('/v1/changes').length === 0; waited++) host.advance(1);
      expect(waited).toBeGreaterThanOrEqual(20);
    }
  });
});
