// What a kept answer remembers of the server (docs/contract.md, `capabilities` and `preconnect`), on the compiled filter.
import { describe, expect, test } from 'vitest';
import { sessionAnswer } from '../runners/answer.ts';
import { parse } from '../runners/dialog.ts';
import { type FakeConnection, FakeHost } from '../runners/fake-host.ts';

type Protocol = 'imap' | 'pop3';

const GREETING = { imap: '* OK ready\r\n', pop3: '+OK ready\r\n' };
const COMMAND = { imap: '1 SELECT INBOX\r\n', pop3: 'STAT\r\n' };
const ASKS = { imap: /^postern1 CAPABILITY\r\n$/, pop3: /^CAPA\r\n$/ };
const LOGS_IN = { imap: /^postern\d AUTHENTICATE PLAIN /, pop3: /^AUTH PLAIN / };

function can(protocol: Protocol, tag: string): string {
  if (protocol === 'imap') return `* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n${tag} OK done\r\n`;
  return '+OK\r\nSASL PLAIN\r\n.\r\n';
}

/** One listener whose answer is kept. */
class Place {
  readonly host = new FakeHost();
  readonly #protocol: Protocol;
  readonly #root: number;
  readonly #answer: string;

  constructor(protocol: Protocol, extra: Record<string, string> = {}) {
    this.#protocol = protocol;
    this.#root = this.host.listener(`${protocol}:one`);
    this.#answer = sessionAnswer(parse(protocol, 'one', '# one\nlogin: basic jane pass\n---\n'), extra);
  }

  /** The first command of a silent app; what the filter then sends to the server. */
  begin(): FakeConnection {
    const connection = this.host.connect(this.#root);
    for (const call of this.host.callsTo('/v1/sessions')) this.host.answer(call, this.#answer);
    this.host.serverSays(connection, Buffer.from(GREETING[this.#protocol]));
    this.host.appSays(connection, Buffer.from(COMMAND[this.#protocol]));
    return connection;
  }

  says(connection: FakeConnection, text: string): string {
    connection.toServer = '';
    this.host.serverSays(connection, Buffer.from(text));
    return connection.toServer;
  }

  /** A whole login; whether the server was asked what it can do. */
  login(outcome = 'OK'): boolean {
    const connection = this.begin();
    const asked = ASKS[this.#protocol].test(connection.toServer);
    const sent = asked ? this.says(connection, can(this.#protocol, 'postern1')) : connection.toServer;
    expect(sent).toMatch(LOGS_IN[this.#protocol]);
    const ok = outcome === 'OK';
    const tag = asked ? 'postern2' : 'postern1';
    const line = this.#protocol === 'imap' ? `${tag} ${outcome} done` : `${ok ? '+OK' : '-ERR'} done`;
    const rest = this.says(connection, `${line}\r\n`);
    expect(rest).toMatch(ok ? COMMAND[this.#protocol] : /LOGOUT|QUIT/);
    this.host.disconnect(connection);
    return asked;
  }
}

describe.each(['imap', 'pop3'] as const)('%s: what a server can do', (protocol) => {
  test('is asked once for a kept answer', () => {
    const place = new Place(protocol);
    expect([place.login(), place.login(), place.login()]).toEqual([true, false, false]);
  });

  test('is asked every time where the destination wants that', () => {
    const place = new Place(protocol, { capabilities: 'asked' });
    expect([place.login(), place.login()]).toEqual([true, true]);
  });

  test('is asked every time where the answer is not kept', () => {
    const place = new Place(protocol, { keep: '0' });
    expect([place.login(), place.login()]).toEqual([true, true]);
  });

  test('is asked again after a login that failed', () => {
    const place = new Place(protocol);
    expect([place.login(), place.login('BAD'), place.login()]).toEqual([true, false, true]);
  });

  test('is not remembered before a login has come of it', () => {
    const place = new Place(protocol);
    expect([place.login('BAD'), place.login()]).toEqual([true, true]);
  });
});

test('IMAP: the greeting of a connection counts more than what is remembered', () => {
  const place = new Place('imap');
  place.login();
  const connection = place.host.connect(1);
  place.host.serverSays(connection, Buffer.from('* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready\r\n'));
  place.host.appSays(connection, Buffer.from('1 SELECT INBOX\r\n'));
  expect(place.says(connection, 'postern1 OK\r\n')).not.toMatch(LOGS_IN.imap);
  expect(connection.toServer).not.toContain('AUTHENTICATE');
});

test.each([
  ['', 'postern-direct'],
  ['yes', 'postern-direct-preconnect'],
  ['no', 'postern-direct'],
])('preconnect "%s" leads to %s', (preconnect, cluster) => {
  const connection = new Place('imap', preconnect ? { preconnect } : {}).begin();
  expect(connection.filterState.get('envoy.tcp_proxy.cluster')).toBe(cluster);
});
