import { describe, expect, test } from 'vitest';
import { fields, sessionAnswer } from './answer.ts';
import { type Dialog, type Event, matches, readDialogs, shown } from './dialog.ts';
import { type Call, type FakeConnection, FakeHost } from './fake-host.ts';
import { questionOf } from './helper-events.ts';

const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;

/** A connection of a fresh VM, with its route. */
function open(dialog: Dialog): { host: FakeHost; connection: FakeConnection } {
  const host = new FakeHost();
  const connection = host.connect(host.listener(`${dialog.protocol}:0123456789abcdef`));
  for (const call of host.callsTo('/v1/sessions')) host.answer(call, answerFor(dialog));
  host.runQueue();
  if (dialog.unreachable) {
    connection.properties.set('xds\0cluster_name\0', `postern-fallback-${dialog.protocol}`);
    if (dialog.unreachable === 'tls') connection.properties.set('upstream\0transport_failure_reason\0', 'TLS_error');
  }
  return { host, connection };
}

/** Envoy finds out about `connect` and `tls`; everything else sidecar-auth has refused before. */
function answerFor(dialog: Dialog): string {
  const failure = dialog.unreachable ?? 'connect';
  if (failure === 'connect' || failure === 'tls') return sessionAnswer(dialog);
  return fields({ failure, destination: 'mail', text: 'nobody answered' });
}

function act(host: FakeHost, connection: FakeConnection, event: Event): void {
  const empty = Buffer.alloc(0);
  if (event.kind === 'says' && event.side === 'app') host.appSays(connection, event.bytes);
  else if (event.kind === 'says') host.serverSays(connection, event.bytes);
  else if (event.kind === 'ends' && event.side === 'app') host.appSays(connection, empty, true);
  else if (event.kind === 'ends') host.serverSays(connection, empty, true);
  else if (event.kind === 'deadline') host.advance(30_250);
  else if (event.kind === 'answers') for (const call of questions(host)) answer(host, call, event);
}

/** Calls that wait for a token. */
function questions(host: FakeHost): Call[] {
  return host.calls.filter(({ path }) => isQuestion(path));
}

function isQuestion(path: string): boolean {
  return path === '/v1/exchanges' || path === '/v1/rejections';
}

function answer(host: FakeHost, call: Call, { status, bodyFor }: Event & { kind: 'answers' }): void {
  host.answer(call, bodyFor('route1'), status);
}

function check(host: FakeHost, dialog: Dialog, connection: FakeConnection, event: Event): void {
  if (event.kind === 'failure') {
    expect([...host.counted]).toContainEqual([`postern.${dialog.protocol}.failure.${event.code}`, 1]);
  }
  if (event.kind === 'asked') {
    const asked = questions(host).map(({ path, body }) => questionOf(path, body, 'route1'));
    expect(asked).toEqual([{ path: event.path, fields: event.fields }]);
  }
  if (event.kind !== 'expect') return;
  for (const [side, actual] of [
    ['server', connection.toServer],
    ['app', connection.toApp],
  ] as const) {
    if (!matches(event.received[side], actual)) expect(actual, `${side} receives`).toBe(shown(event.received[side]));
  }
  connection.toServer = '';
  connection.toApp = '';
}

describe.each(PROTOCOLS)('%s dialogs on the compiled filter', (protocol) => {
  test.each(readDialogs(protocol))('$name', (dialog) => {
    const { host, connection } = open(dialog);
    for (const event of dialog.events) {
      act(host, connection, event);
      check(host, dialog, connection, event);
    }
    const asked = dialog.events.flatMap((event) => (event.kind === 'asked' ? event.path : []));
    if (dialog.token) expect(host.called.filter(isQuestion)).toEqual(asked);
    host.disconnect(connection);
    expect(host.log.filter((line) => !line.startsWith('3 postern: mail: '))).toEqual([]);
  });
});
