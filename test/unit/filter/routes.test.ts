import { describe, expect, test } from 'vitest';
import { fields, sessionAnswer } from '../../runners/answer.ts';
import { parse } from '../../runners/dialog.ts';
import { type FakeConnection, FakeHost } from '../../runners/fake-host.ts';

const CLUSTER = 'envoy.tcp_proxy.cluster';
const ADDRESS = 'envoy.network.transport_socket.original_dst_address';
const SERVER_NAME = 'envoy.network.upstream_server_name';
const SUBJECT_NAMES = 'envoy.network.upstream_subject_alt_names';
const GREETING = Buffer.from('220 mx.example ESMTP\r\n');
const dialog = parse('smtp', 'none', '# none\n---\n');

/** A host whose first session is answered like this, and the connection that asked. */
function routed(extra: Record<string, string | string[]> = {}): {
  host: FakeHost;
  connection: FakeConnection;
  root: number;
} {
  const host = new FakeHost();
  const root = host.listener('smtp:one');
  const connection = host.connect(root);
  answerAll(host, extra);
  return { host, connection, root };
}

function answerAll(host: FakeHost, extra: Record<string, string | string[]> = {}): void {
  for (const call of host.callsTo('/v1/sessions')) host.answer(call, sessionAnswer(dialog, extra));
}

function fallbackSays(host: FakeHost, connection: FakeConnection, text = '421 static\r\n'): void {
  connection.properties.set('xds\0cluster_name\0', 'postern-fallback-smtp');
  host.serverSays(connection, Buffer.from(text), true);
}

describe('asking sidecar-auth', () => {
  test('connections that arrive cold share one request, which names the listener', () => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    const cold = Array.from({ length: 50 }, () => host.connect(root));
    expect(cold.every((connection) => !connection.connecting)).toBe(true);
    expect(host.callsTo('/v1/sessions').map((call) => call.body)).toEqual([fields({ listener: 'smtp:one' })]);
    answerAll(host);
    expect(cold.every((connection) => connection.connecting)).toBe(true);
  });

  test('a kept route serves later connections, until its time is up', () => {
    const { host, root } = routed({ keep: '60' });
    expect(host.connect(root).connecting).toBe(true);
    host.advance(59_000);
    expect(host.connect(root).connecting).toBe(true);
    host.advance(2_000);
    expect(host.connect(root).connecting).toBe(false);
    expect(host.callsTo('/v1/sessions')).toHaveLength(1);
  });

  test('a route that may not be kept serves those who waited for it, and nobody else', () => {
    const { host, connection, root } = routed({ keep: '0' });
    expect(connection.connecting).toBe(true);
    expect(host.connect(root).connecting).toBe(false);
  });

  test('listeners of one VM have routes of their own', () => {
    const host = new FakeHost();
    const [one, two] = [host.listener('smtp:one'), host.listener('smtp:two')];
    const connections = [host.connect(one), host.connect(two)];
    const asked = host.callsTo('/v1/sessions');
    expect(asked.map((call) => call.body)).toEqual([
      fields({ listener: 'smtp:one' }),
      fields({ listener: 'smtp:two' }),
    ]);
    for (const [index, call] of asked.entries()) {
      host.answer(call, sessionAnswer(dialog, { address: `192.0.2.${index}:25` }));
    }
    expect(connections.map((connection) => connection.filterState.get(ADDRESS))).toEqual([
      '192.0.2.0:25',
      '192.0.2.1:25',
    ]);
  });

  test('a connection that is gone when the answer comes is left out', () => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    const [gone, here] = [host.connect(root), host.connect(root)];
    host.disconnect(gone);
    answerAll(host);
    expect(gone.connecting).toBe(false);
    expect(here.connecting).toBe(true);
  });

  test.each([
    ['a 503 of Envoy itself, whose body looks like a route', '503', sessionAnswer(dialog)],
    ['no answer at all', '', ''],
    ['an answer that is no contract body', '200', 'upstream connect error'],
    ['an answer cut short', '200', sessionAnswer(dialog).slice(0, -1)],
    ['a route without an address', '200', sessionAnswer(dialog, { address: [] })],
    ['a route without a route id', '200', sessionAnswer(dialog, { route: '' })],
    [
      'a login without a password',
      '200',
      fields({ route: 'r', to: 'relay', login: 'basic', user: 'u', deadline: '9', limit: '1', keep: '1' }),
    ],
    ['half a demand on the app', '200', sessionAnswer(dialog, { 'app.password': 'right' })],
    ['numbers that are none', '200', sessionAnswer(dialog, { limit: '99999999999999999999' })],
  ])('%s: the fallback, with an error of sidecar-auth, and nothing kept', (_, status, body) => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    const connection = host.connect(root);
    for (const call of host.callsTo('/v1/sessions')) host.answer(call, body, status);
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    fallbackSays(host, connection);
    expect(connection.toApp).toMatch(/^421 4\.3\.0 postern: .*internal: /);
    expect(host.connect(root).connecting).toBe(false);
  });

  test('sidecar-auth can not be asked: the fallback at once', () => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    host.callsFail = true;
    const connection = host.connect(root);
    expect(connection.connecting).toBe(true);
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
  });

  test('a refusal names failure, destination and text', () => {
    const host = new FakeHost();
    const connection = host.connect(host.listener('smtp:one'));
    for (const call of host.callsTo('/v1/sessions')) {
      host.answer(call, fields({ failure: 'resolve', destination: 'office', text: 'mx.invalid is unknown' }));
    }
    fallbackSays(host, connection);
    expect(connection.toApp).toBe('421 4.4.3 postern: office: resolve: mx.invalid is unknown\r\n');
  });

  test.each(['smtp', 'smtp:', ':x', 'http:one', ''])('a listener may not be configured as %j', (id) => {
    expect(new FakeHost().listener(id)).toBe(0);
  });
});

describe('where it connects', () => {
  test('plain: cluster and address, no name', () => {
    const { connection } = routed();
    expect(Object.fromEntries(connection.filterState)).toEqual({
      [CLUSTER]: 'postern-direct',
      [ADDRESS]: '192.0.2.1:2525',
    });
  });

  test('TLS to a name: the name is what is asked for and checked', () => {
    const { connection } = routed({ sni: 'mx.example' });
    expect(connection.filterState.get(CLUSTER)).toBe('postern-direct-tls');
    expect(connection.filterState.get(SERVER_NAME)).toBe('mx.example');
    expect(connection.filterState.has(SUBJECT_NAMES)).toBe(false);
  });

  test('TLS to an IP literal: checked by subject name, for it can not be asked for', () => {
    const { connection } = routed({ san: '192.0.2.1' });
    expect(connection.filterState.get(CLUSTER)).toBe('postern-direct-tls');
    expect(connection.filterState.get(SUBJECT_NAMES)).toBe('192.0.2.1');
    expect(connection.filterState.has(SERVER_NAME)).toBe(false);
  });

  test('relay: the route id travels in the PROXY header', () => {
    const { connection } = routed({ to: 'relay', address: [] });
    expect(connection.filterState.get(CLUSTER)).toBe('postern-relay');
    expect(connection.filterState.get('wasm.mail_route')).toBe('route1');
    expect(connection.filterState.has(ADDRESS)).toBe(false);
  });

  test('an address that Envoy refuses: the fallback, never the cluster without an address', () => {
    const { connection } = routed({ address: 'mx.example:25' });
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
  });

  test('one address: the second attempt goes to the fallback', () => {
    const { host, connection } = routed();
    expect(connection.filterState.get(CLUSTER)).toBe('postern-direct');
    host.runQueue();
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    fallbackSays(host, connection);
    expect(connection.toApp).toBe('421 4.4.1 postern: mail: connect: no connection to 192.0.2.1:2525\r\n');
    expect(connection.toServer).toBe('');
  });

  test('two addresses: the second attempt goes to the other one, the third to the fallback', () => {
    const { host, connection } = routed({ address: ['192.0.2.1:25', '[2001:db8::1]:25'] });
    host.runQueue();
    expect(connection.filterState.get(CLUSTER)).toBe('postern-direct');
    expect(connection.filterState.get(ADDRESS)).toBe('[2001:db8::1]:25');
    host.advance(20);
    expect(connection.filterState.get(CLUSTER)).toBe('postern-direct');
    connection.properties.set('upstream\0request_attempt_count\0', '\x02');
    host.advance(20);
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    expect(host.tick.period).toBeGreaterThan(10);
  });

  test('a fallback that greets and offers a login gets none', () => {
    const { host, connection } = routed();
    host.runQueue();
    host.appSays(connection, Buffer.from('AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@example.org>\r\n'));
    fallbackSays(host, connection, '220 welcome\r\n');
    expect(connection.toServer).toBe('');
    expect(connection.toApp).toMatch(/^421 4\.4\.1 /);
  });

  test('Envoy says that TLS failed: so does the error', () => {
    const { host, connection } = routed({ sni: 'mx.example' });
    host.runQueue();
    connection.properties.set('upstream\0transport_failure_reason\0', 'TLS_error:|CERTIFICATE_VERIFY_FAILED');
    fallbackSays(host, connection);
    expect(connection.toApp).toMatch(
      /^421 4\.7\.5 postern: mail: tls: no trusted TLS connection to mx\.example .*CERTIFICATE_VERIFY_FAILED/,
    );
  });

  test('the listener is full: one more is turned away, and has room when another has gone', () => {
    const { host, connection, root } = routed({ limit: '2' });
    const second = host.connect(root);
    const third = host.connect(root);
    expect([second, third].map((one) => one.filterState.get(CLUSTER))).toEqual([
      'postern-direct',
      'postern-fallback-smtp',
    ]);
    fallbackSays(host, third);
    expect(third.toApp).toBe('421 4.3.2 postern: mail: limit: too many connections\r\n');
    host.disconnect(third);
    host.disconnect(connection);
    expect(host.connect(root).filterState.get(CLUSTER)).toBe('postern-direct');
  });
});

describe('the app speaks first', () => {
  test('bytes that came before the route never go on to the server', () => {
    const host = new FakeHost();
    const connection = host.connect(host.listener('smtp:one'));
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    answerAll(host);
    expect(connection.toServer).toBe('');
    host.serverSays(connection, GREETING);
    expect(connection.toServer).toBe('EHLO postern.test\r\n');
  });
});

describe('changes', () => {
  test('a listener that is named is asked for anew; another one is not', () => {
    const host = new FakeHost();
    const [one, two] = [host.listener('smtp:one'), host.listener('smtp:two')];
    host.connect(one);
    host.connect(two);
    answerAll(host);
    const [poll] = host.callsTo('/v1/changes');
    expect(poll?.path).toBe('/v1/changes?since=0.0');
    if (poll) host.answer(poll, fields({ since: 'boot.7', listener: 'smtp:one' }));
    expect(host.connect(one).connecting).toBe(false);
    expect(host.connect(two).connecting).toBe(true);
  });

  test('everything may have changed: what is of an older state goes, what is of this one stays', () => {
    const { host, root } = routed({ since: 'boot.7' });
    const tell = (since: string) => {
      host.advance(1_000);
      for (const poll of host.callsTo('/v1/changes')) host.answer(poll, fields({ since, all: '1' }));
    };
    tell('boot.7');
    expect(host.connect(root).connecting).toBe(true);
    tell('other.1');
    expect(host.connect(root).connecting).toBe(false);
  });

  test('the first poll is answered before the session: what is of the state that it told is kept', () => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    host.connect(root);
    for (const poll of host.callsTo('/v1/changes')) host.answer(poll, fields({ since: 'boot.7', all: '1' }));
    answerAll(host, { since: 'boot.7' });
    expect(host.connect(root).connecting).toBe(true);
  });

  test('an answer that was asked for before a change is used once and not kept', () => {
    const host = new FakeHost();
    const root = host.listener('smtp:one');
    const connection = host.connect(root);
    for (const poll of host.callsTo('/v1/changes'))
      host.answer(poll, fields({ since: 'boot.7', listener: 'smtp:one' }));
    answerAll(host);
    expect(connection.connecting).toBe(true);
    expect(host.connect(root).connecting).toBe(false);
  });

  test('sidecar-auth is gone: kept routes serve, and the poll comes again more and more slowly', () => {
    const { host, root } = routed();
    const polledAt: number[] = [];
    for (let time = 0; time < 20_000; time += 50) {
      for (const poll of host.callsTo('/v1/changes')) {
        polledAt.push(time);
        host.answer(poll, 'upstream connect error', '503');
      }
      host.advance(50);
    }
    expect(host.connect(root).connecting).toBe(true);
    expect(polledAt.length).toBeLessThan(14);
    expect(polledAt.length).toBeGreaterThan(5);
  });

  test('answers that come at once do not make a hot loop', () => {
    const { host } = routed();
    let polls = 0;
    for (let time = 0; time < 1_000; time += 10) {
      for (const poll of host.callsTo('/v1/changes')) {
        polls += 1;
        host.answer(poll, fields({ since: 'boot.7' }));
      }
      host.advance(10);
    }
    expect(polls).toBeLessThanOrEqual(50);
  });

  test('the listener that owned poll, queue and tick is deleted: another takes over', () => {
    const host = new FakeHost();
    const [one, two] = [host.listener('smtp:one'), host.listener('smtp:two')];
    host.disconnect(host.connect(one));
    host.calls.length = 0;
    host.deleteListener(one);
    expect(host.callsTo('/v1/changes')).toHaveLength(1);
    const connection = host.connect(two);
    answerAll(host);
    host.runQueue();
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    host.advance(60_000);
    expect(connection.closed).toBe(true);
  });
});

describe('the server refuses the login', () => {
  test('the kept route goes, and sidecar-auth is told, without the password', () => {
    const { host, connection, root } = routed();
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.serverSays(connection, Buffer.from('250-mx.example\r\n250 AUTH PLAIN\r\n'));
    host.serverSays(connection, Buffer.from('535 5.7.8 no\r\n'));
    const [told] = host.callsTo('/v1/rejections');
    expect(told?.body).toBe(fields({ route: 'route1', failure: 'rejected', text: 'the server said: 535 5.7.8 no' }));
    expect(host.connect(root).connecting).toBe(false);
    expect(host.log.join()).not.toMatch(/secret|c2VjcmV0/);
  });
});

describe('time', () => {
  test('a server that never speaks: closed at the deadline, for there is nothing that could carry an error', () => {
    const { host, connection } = routed({ deadline: '5000' });
    host.advance(4_700);
    expect(connection.closed).toBe(false);
    host.advance(600);
    expect(connection.closed).toBe(true);
  });

  test('a server that stops in the login: QUIT, whose answer carries the error', () => {
    const { host, connection } = routed({ deadline: '5000' });
    host.serverSays(connection, GREETING);
    host.advance(60_000);
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.advance(5_500);
    expect(connection.toServer).toBe('EHLO postern.test\r\nQUIT\r\n');
    host.serverSays(connection, Buffer.from('221 bye\r\n'), true);
    expect(connection.toApp).toContain('421 4.3.2 postern: mail: server_unavailable: ');
  });

  test('and does not answer that either: closed', () => {
    const { host, connection } = routed({ deadline: '5000' });
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.advance(5_500);
    expect(connection.closed).toBe(false);
    host.advance(2_500);
    expect(connection.closed).toBe(true);
  });

  test('after the login there is no deadline, and no tick', () => {
    const { host, connection } = routed({ login: 'none' });
    for (const poll of host.callsTo('/v1/changes')) host.calls.splice(host.calls.indexOf(poll), 1);
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('EHLO app\r\n'));
    host.serverSays(connection, Buffer.from('250 mx.example\r\n'));
    host.appSays(connection, Buffer.from('MAIL FROM:<a@example.org>\r\n'));
    host.advance(3_600_000);
    expect(connection.closed).toBe(false);
    expect(host.tick.period).toBe(0);
  });
});

describe('an app that keeps its session alive by NOOP', () => {
  function noops(loggedIn: boolean): string {
    const { host, connection } = routed();
    host.serverSays(connection, GREETING);
    host.appSays(connection, Buffer.from('EHLO app\r\n'));
    host.serverSays(connection, Buffer.from('250-mx.example\r\n250 AUTH PLAIN\r\n'));
    if (loggedIn) {
      host.appSays(connection, Buffer.from('AUTH PLAIN AGEAYg==\r\n'));
      host.serverSays(connection, Buffer.from('235 ok\r\n'));
    }
    for (let count = 0; count < 100; count++) {
      host.appSays(connection, Buffer.from('NOOP\r\n'));
      host.serverSays(connection, Buffer.from('250 ok\r\n'));
    }
    return connection.toApp;
  }

  test('after its login it may for as long as it likes', () => {
    expect(noops(true)).not.toContain('postern:');
  });

  test('before that it is told when it is too much', () => {
    expect(noops(false)).toContain('postern: mail: limit: more than 64 commands before the login');
  });
});
