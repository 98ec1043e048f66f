import { expect, it } from 'vitest';
import type { Line } from '../../../sidecar-auth/contract/lines.ts';
import { Failure } from '../../../sidecar-auth/failure.ts';
import { relayTarget } from '../../../sidecar-auth/route/relay-target.ts';
import type { Resolve } from '../../../sidecar-auth/route/resolve.ts';
import { Sessions } from '../../../sidecar-auth/route/session.ts';
import { type Entry, RouteTable } from '../../../sidecar-auth/route/table.ts';
import type { TokenIssuer } from '../../../sidecar-auth/token/issuer.ts';

const ID = 'smtp:0123456789abcdef';
const PROXY = { host: 'cp', port: 20004, token: { kind: 'none' } } as const;
const DIRECT: Entry = {
  listenerId: ID,
  listener: {
    destination: 'office',
    address: { host: '127.0.0.1', port: 1 },
    maxConnections: 10,
    maxConnectionsSet: true,
  },
  protocol: 'smtp',
  destination: {
    name: 'office',
    file: '/d/office.json',
    onPremise: false,
    protocol: 'smtp',
    tls: true,
    starttls: false,
    verify: true,
    host: 'mail.example.com',
    port: 465,
    login: { kind: 'basic', user: 'jane', password: 'wort' },
    hello: 'gw.example.com',
  },
  loginTimeout: 30,
};
const ONPREMISE = changed(DIRECT, { onPremise: true, tls: false, port: 25, location: 'werk' }, { connectivity: PROXY });

function changed(entry: Entry, destination: object, more: Partial<Entry> = {}): Entry {
  return {
    ...entry,
    ...more,
    destination: { ...entry.destination, ...destination } as NonNullable<Entry['destination']>,
  };
}

const speaking = (protocol: 'imap' | 'pop3') => changed(DIRECT, { protocol }, { protocol });

const both: Resolve = async () => ({ addresses: ['2001:db8::1', '192.0.2.1'], keep: 30 });

/** The sessions of one table, whose destinations come from files. */
function sessionsOf(table: RouteTable, resolve = both, workers = 4, issuer?: TokenIssuer): Sessions {
  return new Sessions({
    table,
    resolve,
    workers,
    served: async () => ({}),
    issuer: () => issuer,
    refused: (token) => issuer?.refused(token),
    onChange: () => {},
  });
}

async function answer(entry: Entry, { resolve = both, workers = 4, id = ID } = {}) {
  const table = new RouteTable();
  table.update([entry]);
  const lines = await sessionsOf(table, resolve, workers).answer(id);
  return { table, lines, value: (key: string) => lines.filter(([name]) => name === key).map(([, text]) => text) };
}

it('direct TLS to a name', async () => {
  const { table, lines } = await answer(DIRECT);
  const expected: Line[] = [
    ['route', table.ofListener(ID)?.id ?? ''],
    ['destination', 'office'],
    ['to', 'direct'],
    ['address', '[2001:db8::1]:465'],
    ['address', '192.0.2.1:465'],
    ['sni', 'mail.example.com'],
    ['login', 'basic'],
    ['user', 'jane'],
    ['password', 'wort'],
    ['plain', '\0jane\0wort'],
    ['hello', 'gw.example.com'],
    ['keep', '30'],
    ['deadline', '30000'],
    ['limit', '3'],
  ];
  expect(lines).toEqual(expected);
});

it('direct TLS to a literal: san, no sni; plain: neither', async () => {
  const literal = await answer(changed(DIRECT, { host: '192.0.2.7' }));
  expect([literal.value('san'), literal.value('sni')]).toEqual([['192.0.2.7'], []]);
  const plain = await answer(changed(DIRECT, { tls: false }));
  expect([plain.value('san'), plain.value('sni')]).toEqual([[], []]);
});

it('relay: no address, 120 s, and nothing is resolved', async () => {
  const { value } = await answer(ONPREMISE, { resolve: () => Promise.reject(new Error('asked')) });
  expect([value('to'), value('address'), value('keep')]).toEqual([['relay'], [], ['120']]);
});

it('what the Destination service said is kept only as long as it holds', async () => {
  const { destination, ...entry } = ONPREMISE;
  const keep = async (until: number | undefined, ofFile: Entry = entry) => {
    const table = new RouteTable();
    table.update([ofFile]);
    const served = async () => ({
      ...(ofFile === entry && destination && { destination }),
      ...(until !== undefined && { until }),
    });
    const deps = { issuer: () => undefined, refused: () => {}, onChange: () => {} };
    const sessions = new Sessions({ table, resolve: both, workers: 1, served, ...deps });
    return Number(Object.fromEntries(await sessions.answer(ID)).keep);
  };
  expect(await keep(Date.now() + 1_900)).toBe(1);
  expect(await keep(Date.now() - 1_000)).toBe(0);
  expect(await keep(Date.now() + 500_000)).toBe(120);
  // A file that stands in while the service is down, and one where there is no service.
  expect(await keep(Date.now() + 10_500, ONPREMISE)).toBe(10);
  expect(await keep(undefined, ONPREMISE)).toBe(120);
});

it('no login, and a name for EHLO in SMTP only', async () => {
  const { hello: _, ...destination } = DIRECT.destination ?? ({} as never);
  const none = await answer({ ...DIRECT, destination: { ...destination, login: { kind: 'none' } } });
  expect([none.value('login'), none.value('user'), none.value('plain')]).toEqual([['none'], [], []]);
  expect(none.value('hello')).toEqual([expect.stringMatching(/^(\[127\.0\.0\.1\]|[^. ]+\.[^ ]+)$/)]);
  expect((await answer(speaking('imap'))).value('hello')).toEqual([]);
});

it('what the listener demands of the app', async () => {
  const app = await answer({ ...DIRECT, listener: { ...DIRECT.listener, app: { user: 'crm', password: 'pw' } } });
  expect([app.value('app.user'), app.value('app.password'), app.value('greeting')]).toEqual([['crm'], ['pw'], []]);
  const listener = { ...DIRECT.listener, greeting: 'preauth' } as const;
  expect((await answer({ ...speaking('imap'), listener })).value('greeting')).toEqual(['preauth']);
  expect((await answer({ ...speaking('pop3'), listener })).value('greeting')).toEqual([]);
});

it.each([
  [10, 4, '3'],
  [1, 4, '1'],
  [8, 4, '2'],
  [10_000, 1, '10000'],
])('%i connections on %i workers: %s each', async (max, workers, limit) => {
  const entry = { ...DIRECT, listener: { ...DIRECT.listener, maxConnections: max } };
  expect((await answer(entry, { workers })).value('limit')).toEqual([limit]);
});

it('failures: unknown listener, deleted destination, unresolved name, a fault', async () => {
  const text = (lines: Line[]) => Object.fromEntries(lines);
  expect(text((await answer(DIRECT, { id: 'smtp:other' })).lines)).toEqual({
    failure: 'unknown_destination',
    text: expect.any(String),
  });
  const { destination: _, ...gone } = DIRECT;
  expect(text((await answer(gone)).lines)).toEqual({
    failure: 'unknown_destination',
    text: 'there is no destination "office"',
    destination: 'office',
  });
  const resolve = () => Promise.reject(new Failure('resolve', `x${'ü'.repeat(9)}${'y'.repeat(500)}`));
  const failed = text((await answer(DIRECT, { resolve })).lines);
  expect(failed).toEqual({
    failure: 'resolve',
    text: expect.stringMatching(/^[\x20-\x7e]{160}$/),
    destination: 'office',
  });
  const fault = await answer(DIRECT, { resolve: () => Promise.reject(new Error('wort')) });
  expect(text(fault.lines)).toMatchObject({ failure: 'internal' });
  expect(JSON.stringify(fault.lines)).not.toContain('wort');
});

it('a change while the name is looked up: the answer is of the new revision', async () => {
  const table = new RouteTable();
  table.update([DIRECT]);
  let first = true;
  const resolve: Resolve = async (host) => {
    if (first)
      table.update([
        changed(DIRECT, { host: 'new.example.com', login: { kind: 'basic', user: 'new', password: 'neu' } }),
      ]);
    first = false;
    return { addresses: [host === 'new.example.com' ? '192.0.2.9' : '192.0.2.1'], keep: 30 };
  };
  const lines = await sessionsOf(table, resolve, 1).answer(ID);
  expect(lines).toContainEqual(['address', '192.0.2.9:465']);
  expect(lines).toContainEqual(['password', 'neu']);
  expect(JSON.stringify(lines)).not.toContain('wort');
});

it('a route id belongs to one revision, and an old one is refused', () => {
  const table = new RouteTable();
  expect(table.update([ONPREMISE])).toEqual([]);
  const old = table.ofListener(ID)?.id ?? '';
  expect(old).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  expect(table.update([structuredClone(ONPREMISE)])).toEqual([]);
  expect(table.ofListener(ID)?.id).toBe(old);
  expect(table.update([changed(ONPREMISE, { login: { kind: 'basic', user: 'jane', password: 'neu' } })])).toEqual([ID]);
  const next = table.ofListener(ID)?.id ?? '';
  expect(next).not.toBe(old);
  expect(table.ofId(old)).toBeUndefined();
  expect(relayTarget(table, old)).toBeUndefined();
  expect(relayTarget(table, next)).toEqual({
    destination: 'office',
    protocol: 'smtp',
    host: 'mail.example.com',
    port: 25,
    location: 'werk',
    connectTimeoutMs: 22_500,
    proxy: PROXY,
    security: { kind: 'none' },
    hello: 'gw.example.com',
  });
  table.update([changed(ONPREMISE, { preconnect: true })]);
  expect(relayTarget(table, table.ofListener(ID)?.id ?? '')?.preconnect).toBe(true);
  // Back to what it once was: still another id.
  table.update([ONPREMISE]);
  expect(table.ofListener(ID)?.id).not.toBe(old);
});

it('keeps nothing of what was superseded', () => {
  const table = new RouteTable();
  for (let i = 0; i < 1000; i++) table.update([changed(DIRECT, { port: 1 + i })]);
  expect(table.routes).toHaveLength(1);
  expect(table.update([])).toEqual([ID]);
  expect(table.routes).toEqual([]);
});

it('a direct route leads nobody through the relay', () => {
  const table = new RouteTable();
  table.update([DIRECT]);
  expect(relayTarget(table, table.ofListener(ID)?.id ?? '')).toBeUndefined();
});

const OAUTH = changed(DIRECT, {
  login: { kind: 'oauth', user: 'jane', grant: 'refresh_token', token: {} },
});

/** Hands out token-1, token-2, ...; a refused one is followed by the next. */
function issuerOf(silent: boolean): TokenIssuer & { asked: string[] } {
  let number = 1;
  const token = () => ({ value: `token-${number}`, expiresAt: Date.now() + 60_000 });
  const asked: string[] = [];
  return {
    asked,
    ...(silent && { silent: async () => token() }),
    exchange: async (user, presented) => {
      asked.push(`${user} ${presented}`);
      return token();
    },
    refused: (value) => {
      if (value === `token-${number}`) number += 1;
    },
  };
}

async function tokenSession(silent: boolean, entry = OAUTH) {
  const table = new RouteTable();
  table.update([entry]);
  const issuer = issuerOf(silent);
  const sessions = sessionsOf(table, both, 1, issuer);
  return {
    sessions,
    issuer,
    answer: Object.fromEntries(await sessions.answer(ID)),
    routeId: table.ofListener(ID)?.id ?? '',
  };
}

it('a silent app gets a token, kept no longer than it lives', async () => {
  const { answer: bearer } = await tokenSession(true);
  expect(bearer).toMatchObject({ login: 'bearer', brings: 'refresh_token', keep: expect.stringMatching(/^(29|30)$/) });
  expect(bearer.xoauth2).toBe('user=jane\x01auth=Bearer token-1\x01\x01');
  expect(bearer.oauthbearer).toBe('n,a=jane,\x01host=mail.example.com\x01port=465\x01auth=Bearer token-1\x01\x01');
});

it('without a grant of its own the app must bring a token', async () => {
  const { sessions, issuer, answer: exchange, routeId } = await tokenSession(false);
  expect(exchange).toMatchObject({ login: 'exchange', brings: 'refresh_token' });
  const got = Object.fromEntries((await sessions.exchange({ routeId, user: 'a=b,c', token: 'secret' })) ?? []);
  expect(issuer.asked).toEqual(['a=b,c secret']);
  expect(got).toMatchObject({ route: routeId, oauthbearer: expect.stringMatching(/^n,a=a=3Db=2Cc,/) });
  expect(await sessions.exchange({ routeId: 'smtp-old', user: 'a', token: 'secret' })).toBeUndefined();
});

it('a refused token is followed by another one, once, however often that refusal is told', async () => {
  const { sessions, answer: bearer, routeId } = await tokenSession(true);
  const rejection = { routeId, grant: bearer.grant ?? '' };
  const next = Object.fromEntries((await sessions.rejected(rejection)) ?? []);
  expect(next).toMatchObject({ route: routeId, xoauth2: expect.stringContaining('token-2') });
  expect(Object.fromEntries((await sessions.rejected(rejection)) ?? []).xoauth2).toContain('token-2');
});

it('a refused password has nothing to follow it, and of an old route nothing is told', async () => {
  const table = new RouteTable();
  table.update([DIRECT]);
  const sessions = sessionsOf(table);
  expect(await sessions.rejected({ routeId: table.ofListener(ID)?.id ?? '' })).toEqual([]);
  expect(await sessions.rejected({ routeId: 'smtp-old' })).toBeUndefined();
});

it('with a login of its own that the listener demands, an app brings no token', async () => {
  const app = { ...OAUTH, listener: { ...OAUTH.listener, app: { user: 'crm', password: 'pw' } } };
  expect((await tokenSession(true, app)).answer).not.toHaveProperty('brings');
  expect((await tokenSession(false, app)).answer).toMatchObject({ failure: 'internal' });
});

it('another destination from the Destination service is another route id; the same one is not', async () => {
  const { destination: file, ...entry } = DIRECT;
  const table = new RouteTable();
  table.update([entry]);
  let host = 'one.example';
  const told: string[] = [];
  const served = async () => ({ destination: { ...(file ?? ({} as never)), host } });
  const onChange = (listenerId: string) => told.push(listenerId);
  const refused = () => {};
  const issuer = () => undefined;
  const sessions = new Sessions({ table, resolve: both, workers: 1, served, issuer, refused, onChange });
  const first = Object.fromEntries(await sessions.answer(ID)).route;
  expect(Object.fromEntries(await sessions.answer(ID)).route).toBe(first);
  expect(told).toEqual([]);
  host = 'two.example';
  expect(Object.fromEntries(await sessions.answer(ID)).route).not.toBe(first);
  expect(told).toEqual([ID]);
  expect(table.ofId(first ?? '')).toBeUndefined();
});

it('a spent code is an authentication error, a fault of the token service is not', async () => {
  const { sessions, issuer, routeId } = await tokenSession(false);
  const fail = (retry: boolean) => {
    issuer.exchange = () => Promise.reject(new Failure('token', 'the code is spent', { retry }));
  };
  fail(false);
  const spent = await sessions.exchange({ routeId, user: 'jane', token: 'code' });
  expect(Object.fromEntries(spent ?? [])).toMatchObject({ failure: 'rejected', text: 'the code is spent' });
  fail(true);
  const down = await sessions.exchange({ routeId, user: 'jane', token: 'code' });
  expect(Object.fromEntries(down ?? [])).toMatchObject({ failure: 'token' });
});

it('a stored grant that has ended does not stand in the way of an app that brings a token', async () => {
  const open = async (entry: Entry, retry: boolean) => {
    const table = new RouteTable();
    table.update([entry]);
    const silent = () => Promise.reject(new Failure('token', 'run "postern login" again', { retry }));
    return Object.fromEntries(await sessionsOf(table, both, 1, { ...issuerOf(false), silent }).answer(ID));
  };
  expect(await open(OAUTH, false)).toMatchObject({ login: 'exchange', brings: 'refresh_token', keep: '5' });
  expect(await open(OAUTH, true)).toMatchObject({ failure: 'token' });
  const app = { ...OAUTH, listener: { ...OAUTH.listener, app: { user: 'crm', password: 'pw' } } };
  expect(await open(app, false)).toMatchObject({ failure: 'token', text: 'run "postern login" again' });
});

it('a refused token is dropped before anything is told or asked', async () => {
  const table = new RouteTable();
  table.update([OAUTH]);
  const issuer = issuerOf(true);
  const order: string[] = [];
  const served = async () => {
    order.push('asked');
    return {};
  };
  const refused = (token: string) => {
    order.push(`dropped ${token}`);
    issuer.refused(token);
  };
  const onChange = () => void order.push('told');
  const sessions = new Sessions({ table, resolve: both, workers: 1, served, issuer: () => issuer, refused, onChange });
  const { grant = '', route = '' } = Object.fromEntries(await sessions.answer(ID));
  order.length = 0;
  const answered = sessions.rejected({ routeId: route, grant });
  expect(order).toEqual(['dropped token-1', 'told', 'asked']);
  await answered;
});

it('an exchange during which the destination changed is of an old route', async () => {
  const table = new RouteTable();
  table.update([OAUTH]);
  const issuer = issuerOf(false);
  const { exchange } = issuer;
  let change = () => {};
  issuer.exchange = async (...presented) => {
    change();
    return (await exchange?.(...presented)) ?? expect.fail('no exchange');
  };
  const sessions = sessionsOf(table, both, 1, issuer);
  const presented = { routeId: table.ofListener(ID)?.id ?? '', user: 'jane', token: 'secret' };
  expect(await sessions.exchange(presented)).toContainEqual(['route', presented.routeId]);
  change = () => void table.update([changed(OAUTH, { host: 'other.example' })]);
  expect(await sessions.exchange(presented)).toBeUndefined();
});
