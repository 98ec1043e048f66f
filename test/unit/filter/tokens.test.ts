import { describe, expect, test } from 'vitest';
import { sessionAnswer } from '../../runners/answer.ts';
import { type Dialog, parse } from '../../runners/dialog.ts';
import { type Call, type FakeConnection, FakeHost } from '../../runners/fake-host.ts';
import { bearerFields, fields, readFields, xoauth2 } from '../../runners/helper-events.ts';

const CLUSTER = 'envoy.tcp_proxy.cluster';
const USER = 'alice@example.org';
const BEARER = parse('smtp', 'bearer', `# bearer\nlogin: bearer ${USER} access-1\n---\n`);
const EXCHANGE = parse('smtp', 'exchange', '# exchange\nlogin: exchange refresh_token\n---\n');
const TOKENS = /access-|refresh-|YWNjZXNz|cmVmcmVza/;
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');

interface Open {
  host: FakeHost;
  root: number;
  connection: FakeConnection;
}

function open(dialog: Dialog, extra: Record<string, string | string[]> = {}): Open {
  const host = new FakeHost();
  const root = host.listener('smtp:one');
  const connection = connect(host, root, dialog, extra);
  return { host, root, connection };
}

function connect(
  host: FakeHost,
  root: number,
  dialog: Dialog,
  extra: Record<string, string | string[]> = {},
): FakeConnection {
  const connection = host.connect(root);
  for (const call of host.callsTo('/v1/sessions')) host.answer(call, sessionAnswer(dialog, extra));
  return connection;
}

const server = (host: FakeHost, connection: FakeConnection, text: string, end = false) =>
  host.serverSays(connection, Buffer.from(text), end);
const app = (host: FakeHost, connection: FakeConnection, text: string) => host.appSays(connection, Buffer.from(text));

/** Up to the point where the login is under way. */
function logIn(host: FakeHost, connection: FakeConnection): void {
  server(host, connection, '220 mx\r\n');
  app(host, connection, 'MAIL FROM:<a@b>\r\n');
  server(host, connection, '250-mx\r\n250 AUTH XOAUTH2\r\n');
}

/** Up to the point where what the app brought is being exchanged. */
function bring(host: FakeHost, connection: FakeConnection, token = 'refresh-1'): Call {
  server(host, connection, '220 mx\r\n');
  app(host, connection, 'EHLO app\r\n');
  server(host, connection, '250-mx\r\n250 AUTH XOAUTH2\r\n');
  app(host, connection, `AUTH XOAUTH2 ${base64(xoauth2(USER, token))}\r\n`);
  return only(host, '/v1/exchanges');
}

function only(host: FakeHost, path: string): Call {
  const [call, ...more] = host.callsTo(path);
  if (!call || more.length > 0) throw new Error(`${host.callsTo(path).length} calls to ${path}`);
  return call;
}

const SECOND = { ...bearerFields(USER, 'access-2') };
const newToken = (route = 'route1') => fields({ route, ...SECOND });
const OWN_AUTH = (token: string) => `AUTH XOAUTH2 ${base64(xoauth2(USER, token))}\r\n`;

describe('half a demand is no route', () => {
  const PREAUTH = { greeting: 'preauth' };
  const APP = { 'app.user': 'crm', 'app.password': 'pass' };
  const BRINGS = { brings: 'refresh_token' };
  const BASIC = parse('smtp', 'basic', '# basic\n---\n');
  const NONE = parse('smtp', 'none', '# none\nlogin: none\n---\n');

  test.each<[string, Dialog, Record<string, string | string[]>]>([
    ['bearer without XOAUTH2', BEARER, { xoauth2: '' }],
    ['bearer without OAUTHBEARER', BEARER, { oauthbearer: [] }],
    ['bearer without a grant', BEARER, { grant: [] }],
    ['bearer that the app may replace, and a demand on the app', BEARER, { ...BRINGS, ...APP }],
    ['bearer that the app may replace by what nobody knows', BEARER, { brings: 'password' }],
    ['exchange without what is exchanged', EXCHANGE, { brings: [] }],
    ['exchange of what nobody knows', EXCHANGE, { brings: 'password' }],
    ['exchange and a demand on the app', EXCHANGE, APP],
    ['exchange after PREAUTH', EXCHANGE, PREAUTH],
    ['a password that the app may replace', BASIC, BRINGS],
    ['no login that the app may replace', NONE, BRINGS],
    ['a login that nobody knows', NONE, { login: 'kerberos' }],
  ])('%s', (_, dialog, extra) => {
    const { host, root, connection } = open(dialog, extra);
    expect(connection.filterState.get(CLUSTER)).toBe('postern-fallback-smtp');
    expect(host.connect(root).connecting).toBe(false);
  });

  test.each<[string, Dialog, Record<string, string | string[]>]>([
    ['bearer', BEARER, {}],
    ['bearer, and a demand on the app', BEARER, APP],
    ['bearer that the app may replace', BEARER, BRINGS],
    ['bearer that the app may replace, after PREAUTH', BEARER, { ...BRINGS, ...PREAUTH }],
    ['exchange of a refresh token', EXCHANGE, {}],
    ['exchange of a code', EXCHANGE, { brings: 'authorization_code' }],
    ['a list of mechanisms', BASIC, { mechanisms: 'PLAIN' }],
  ])('the twin: %s', (_, dialog, extra) => {
    expect(open(dialog, extra).connection.filterState.get(CLUSTER)).toBe('postern-direct');
  });
});

describe('a token is refused', () => {
  test('the kept route goes, sidecar-auth is told which token, and the new one is tried', () => {
    const { host, root, connection } = open(BEARER);
    logIn(host, connection);
    server(host, connection, '535 5.7.8 no\r\n');
    const told = only(host, '/v1/rejections');
    expect(readFields(told.body)).toEqual({
      route: 'route1',
      failure: 'rejected',
      text: 'the server said: 535 5.7.8 no',
      grant: 'grant0',
    });
    expect(told.root).toBe(root);
    expect(host.connect(root).connecting).toBe(false);
    host.answer(told, newToken());
    server(host, connection, '235 in\r\n');
    expect(connection.toServer).toBe(
      `EHLO postern.test\r\n${OWN_AUTH('access-1')}${OWN_AUTH('access-2')}MAIL FROM:<a@b>\r\n`,
    );
    expect(connection.toApp).toBe('220 mx\r\n');
    expect([...host.counters]).toEqual([['postern.smtp.one.login.xoauth2', 1]]);
  });

  test('a second refusal is not told again, and no log has a token', () => {
    const { host, connection } = open(BEARER);
    logIn(host, connection);
    server(host, connection, '535 5.7.8 no\r\n');
    host.answer(only(host, '/v1/rejections'), newToken());
    server(host, connection, `535 5.7.8 no: ${base64(xoauth2(USER, 'access-2'))}\r\n`);
    expect(host.callsTo('/v1/rejections')).toEqual([]);
    expect(host.log).toHaveLength(1);
    expect(`${host.log}${connection.toApp}`).not.toMatch(TOKENS);
    expect([...host.counters]).toEqual([['postern.smtp.one.failure.rejected.xoauth2', 1]]);
  });

  test('a new route that was kept meanwhile stays', () => {
    const { host, root, connection } = open(BEARER);
    logIn(host, connection);
    server(host, connection, '535 5.7.8 no\r\n');
    connect(host, root, BEARER);
    host.answer(only(host, '/v1/rejections'), newToken());
    server(host, connection, '535 5.7.8 no\r\n');
    expect(host.connect(root).connecting).toBe(true);
  });

  test('the server closes with its refusal: sidecar-auth is told all the same', () => {
    const { host, root, connection } = open(BEARER);
    logIn(host, connection);
    server(host, connection, '535 5.7.8 no\r\n', true);
    expect(connection.toApp).toMatch(/\r\n454 4\.7\.0 postern: mail: token: .* try again; the server said: 535 /);
    expect(host.connect(root).connecting).toBe(false);
    host.answer(only(host, '/v1/rejections'), newToken());
    expect(connection.toServer).toBe(`EHLO postern.test\r\n${OWN_AUTH('access-1')}`);
  });

  test('the connection is gone when the answer comes', () => {
    const { host, connection } = open(BEARER);
    logIn(host, connection);
    server(host, connection, '535 5.7.8 no\r\n');
    host.disconnect(connection);
    host.answer(only(host, '/v1/rejections'), newToken());
    expect(connection.toServer).toBe(`EHLO postern.test\r\n${OWN_AUTH('access-1')}`);
  });

  test('sidecar-auth can not be asked', () => {
    const { host, connection } = open(BEARER);
    logIn(host, connection);
    host.callsFail = true;
    server(host, connection, '535 5.7.8 no\r\n');
    server(host, connection, '221 bye\r\n', true);
    expect(connection.toApp).toMatch(/^220 mx\r\n454 4\.7\.0 postern: mail: token: [^\n]+\r\n$/);
  });
});

describe('an app brings a token', () => {
  test('it is exchanged in the name of the listener, for what logs in', () => {
    const { host, root, connection } = open(EXCHANGE);
    const call = bring(host, connection);
    expect([call.method, call.root, readFields(call.body)]).toEqual([
      'POST',
      root,
      { route: 'route1', user: USER, token: 'refresh-1' },
    ]);
    host.answer(call, newToken());
    server(host, connection, '235 in\r\n');
    expect(connection.toApp).toMatch(/\r\n235 2\.7\.0 logged in\r\n$/);
    expect(host.log).toEqual([]);
  });

  test('two connections, answered the other way round: each gets its own', () => {
    const { host, root, connection } = open(EXCHANGE);
    const first = bring(host, connection, 'refresh-1');
    const other = connect(host, root, EXCHANGE);
    host.calls.splice(host.calls.indexOf(first), 1);
    const second = bring(host, other, 'refresh-2');
    host.calls.push(first);
    host.answer(second, fields({ route: 'route1', ...bearerFields(USER, 'access-of-2') }));
    host.answer(first, fields({ route: 'route1', ...bearerFields(USER, 'access-of-1') }));
    expect(connection.toServer).toBe(`EHLO app\r\n${OWN_AUTH('access-of-1')}`);
    expect(other.toServer).toBe(`EHLO app\r\n${OWN_AUTH('access-of-2')}`);
  });

  test('what one app brought is of no use to the next', () => {
    const { host, root, connection } = open(EXCHANGE);
    host.answer(bring(host, connection), newToken());
    server(host, connection, '235 in\r\n');
    const next = connect(host, root, EXCHANGE);
    server(host, next, '220 mx\r\n');
    app(host, next, 'EHLO app\r\n');
    server(host, next, '250-mx\r\n250 AUTH XOAUTH2\r\n');
    app(host, next, 'MAIL FROM:<a@b>\r\n');
    server(host, next, '250 ok\r\n');
    expect(next.toServer).toBe('EHLO app\r\nNOOP\r\n');
    expect(next.toApp).toMatch(/530 5\.7\.0 postern: mail: app_login: log in first/);
  });

  test('the connection is gone when the answer comes', () => {
    const { host, connection } = open(EXCHANGE);
    const call = bring(host, connection);
    host.disconnect(connection);
    host.answer(call, newToken());
    expect(connection.toServer).toBe('EHLO app\r\n');
  });

  test.each([
    ['no route', { route: [] }],
    ['the route of another listener', { route: 'route2' }],
    ['no token', { xoauth2: [] }],
    ['no grant', { grant: [] }],
  ])('an answer with %s: nothing is sent, and the route is asked for anew', (_, extra) => {
    const { host, root, connection } = open(EXCHANGE);
    host.answer(bring(host, connection), fields({ route: 'route1', ...SECOND, ...extra }));
    server(host, connection, '221 bye\r\n', true);
    expect(connection.toServer).toBe('EHLO app\r\nQUIT\r\n');
    expect(connection.toApp).toContain('454 4.7.0 postern: mail: token: sidecar-auth brought no token, try again\r\n');
    expect(host.connect(root).connecting).toBe(false);
  });

  test('sidecar-auth can not be asked', () => {
    const { host, connection } = open(EXCHANGE);
    server(host, connection, '220 mx\r\n');
    app(host, connection, 'EHLO app\r\n');
    server(host, connection, '250-mx\r\n250 AUTH XOAUTH2\r\n');
    host.callsFail = true;
    app(host, connection, `AUTH XOAUTH2 ${base64(xoauth2(USER, 'refresh-1'))}\r\n`);
    expect(connection.toServer).toBe('EHLO app\r\nQUIT\r\n');
    server(host, connection, '221 bye\r\n', true);
    expect(connection.toApp).toContain('454 4.7.0 postern: mail: token: ');
  });

  test('too long: the deadline of the login holds, and a late answer changes nothing', () => {
    const { host, connection } = open(EXCHANGE, { deadline: '5000' });
    const call = bring(host, connection);
    host.advance(5_500);
    expect(connection.toServer).toBe('EHLO app\r\nQUIT\r\n');
    host.answer(call, newToken());
    server(host, connection, '221 bye\r\n', true);
    expect(connection.toServer).toBe('EHLO app\r\nQUIT\r\n');
    expect(connection.toApp).toContain('454 4.7.0 postern: mail: token: sidecar-auth brought no token in time\r\n');
  });
});
