import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { expect, test } from 'vitest';
import type { Protocol } from '../../../sidecar-auth/failure.ts';
import { PLAIN, USER, useMailServer } from './fixture.ts';
import { talk } from './talk.ts';

// Whatever happens here, useMailServer() finds no fault inside the server afterwards.
const fixture = useMailServer();
const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
const GOODBYE: Record<Protocol, string> = { smtp: 'QUIT\r\n', imap: 'z LOGOUT\r\n', pop3: 'QUIT\r\n' };
const LAST: Record<Protocol, RegExp> = { smtp: /221 .*\r\n$/, imap: /z OK .*\r\n$/, pop3: /\+OK Bye\r\n$/ };

const ATTACKS: [string, string][] = [
  ['nothing at all', ''],
  ['empty lines', '\r\n\r\n\n\r\n'],
  ['a line without end for 200 KB', `${'A'.repeat(200_000)}\r\n`],
  ['every octet', `${String.fromCharCode(...Array.from({ length: 256 }, (_, octet) => octet))}\r\n`],
  ['lone CRs', 'EHLO x\rMAIL FROM:<a>\r\r\n'],
  ['NULs', '\0\0\0\r\nt\0 LOGIN a b\r\n'],
  ['TLS on the plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n'],
  ['an HTTP request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['literals that are none', 't LOGIN {999999999\r\nt LOGIN {-1}\r\nt LOGIN {99999999999}\r\n'],
];

for (const protocol of PROTOCOLS) {
  test.each(ATTACKS)(`${protocol}: after %s it still says goodbye`, async (_, attack) => {
    const client = talk(fixture.server.ports.plain[protocol]);
    client.send(attack + GOODBYE[protocol]);
    expect(await client.rest()).toMatch(LAST[protocol]);
    expect(fixture.server.logins).toEqual([]);
  });

  test(`${protocol}: an end of stream after the commands loses no answer`, async () => {
    const client = talk(fixture.server.ports.plain[protocol]);
    client.socket.end(GOODBYE[protocol]);
    expect(await client.rest()).toMatch(LAST[protocol]);
  });

  test(`${protocol}: resets and half commands harm nobody else`, async () => {
    const other = talk(fixture.server.ports.plain[protocol]);
    const half = talk(fixture.server.ports.plain[protocol]);
    await half.until(/\r\n/);
    half.send('HALF');
    half.socket.resetAndDestroy();
    const open = connectTls({
      port: fixture.server.ports.tls[protocol],
      host: '127.0.0.1',
      ca: fixture.certificates.ca,
    });
    await once(open, 'secureConnect');
    open.destroy();
    const noTls = talk(fixture.server.ports.tls[protocol]);
    noTls.send('EHLO plain text on the TLS port\r\n');
    await noTls.rest();
    other.send(GOODBYE[protocol]);
    expect(await other.rest()).toMatch(LAST[protocol]);
  });

  test(`${protocol}: a login cut off in the middle is none`, async () => {
    const client = talk(fixture.server.ports.plain[protocol]);
    const start = { smtp: 'EHLO x\r\nAUTH PLAIN\r\n', imap: 't AUTHENTICATE PLAIN\r\n', pop3: 'AUTH PLAIN\r\n' };
    client.send(start[protocol]);
    await client.until(/^(?:334|\+) \r\n/m);
    client.socket.end(PLAIN);
    await client.rest();
    expect(fixture.server.logins).toEqual([]);
  });
}

test('IMAP: a huge literal that was not asked for ends the connection; a small one does not', async () => {
  const client = talk(fixture.server.ports.plain.imap);
  client.send('t LOGIN {99999999+}\r\n');
  expect(await client.rest()).toMatch(/\* BYE \[TOOBIG\] .*\r\n$/);
  const twin = talk(fixture.server.ports.plain.imap);
  twin.send('t LOGIN {5+}\r\nwrong x\r\nz LOGOUT\r\n');
  expect(await twin.rest()).toMatch(/t NO [\s\S]*z OK .*\r\n$/);
});

test('SMTP: a message cut off before its dot is not delivered', async () => {
  const client = talk(fixture.server.ports.plain.smtp);
  client.send(`EHLO x\r\nAUTH PLAIN ${PLAIN}\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n`);
  await client.until(/354 .*\r\n/);
  client.socket.end('half a mail\r\n.');
  await client.rest();
  expect(fixture.server.store.inbox(USER).messages).toEqual([]);
});

test('close() ends what is open, also an unfinished TLS handshake', async () => {
  const clients = PROTOCOLS.flatMap((protocol) => [
    talk(fixture.server.ports.plain[protocol]),
    talk(fixture.server.ports.tls[protocol]),
  ]);
  await Promise.all(clients.map((client) => once(client.socket, 'connect')));
  await fixture.server.close();
  await Promise.all(clients.map((client) => client.rest()));
});
