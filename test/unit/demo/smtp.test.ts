import { expect, test } from 'vitest';
import { PASSWORD, PLAIN, USER, useMailServer } from './fixture.ts';
import { type Talk, talk } from './talk.ts';

const fixture = useMailServer();
const base64 = (text: string) => Buffer.from(text).toString('base64');
const inbox = (user = USER) => fixture.server.store.inbox(user).messages.map((message) => message.content);

async function greeted(): Promise<Talk> {
  const client = talk(fixture.server.ports.plain.smtp);
  await client.until(/^220 .*\r\n/);
  return client;
}

async function loggedIn(): Promise<Talk> {
  const client = await greeted();
  client.send(`EHLO client.test\r\nAUTH PLAIN ${PLAIN}\r\n`);
  await client.until(/^250 .*\r\n235 .*\r\n/m);
  return client;
}

/** Sends a line, returns the code of its (last) reply line. */
async function code(client: Talk, line: string): Promise<string> {
  client.send(`${line}\r\n`);
  return (await client.until(/^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/)).split('\r\n').at(-2)?.slice(0, 3) ?? '';
}

test('EHLO lists capabilities in one multi-line reply', async () => {
  const client = await greeted();
  client.send('ehlo client.test\r\n');
  const lines = (await client.until(/^250 .*\r\n/m)).trim().split('\r\n');
  expect(lines.slice(0, -1).every((line) => line.startsWith('250-'))).toBe(true);
  expect(lines).toContain('250 AUTH PLAIN LOGIN');
});

test.each(['MAIL FROM:<a@x.test>', 'RCPT TO:<b@x.test>', 'DATA'])('%s before login is 530', async (line) => {
  const client = await greeted();
  expect(await code(client, line)).toBe('530');
  expect(await code(client, 'EHLO client.test')).toBe('250');
  expect(await code(client, line)).toBe('530');
});

test('the documented dialogue without angle brackets, pipelined with its login', async () => {
  const client = await greeted();
  client.send(`EHLO c\r\nAUTH PLAIN ${PLAIN}\r\nMAIL FROM:a@x.test\r\nRCPT TO:b@x.test\r\nDATA\r\n`);
  await client.until(/354 .*\r\n/);
  client.send('Some test data.\r\n.\r\nQUIT\r\n');
  expect(await client.rest()).toMatch(/^250 .*\r\n221 .*\r\n$/);
  expect(inbox()[0]).toMatch(/^Return-Path: <a@x.test>\r\nReceived: .*\r\n by .*\r\n\r\nSome test data\.\r\n$/);
});

test.each([
  ['PLAIN, initial response', [`AUTH PLAIN ${PLAIN}`], 'PLAIN'],
  ['PLAIN, two lines', ['auth plain', PLAIN], 'PLAIN'],
  ['PLAIN, authzid equal to the user', [`AUTH PLAIN ${base64(`${USER}\0${USER}\0${PASSWORD}`)}`], 'PLAIN'],
  ['LOGIN', ['AUTH LOGIN', base64(USER), base64(PASSWORD)], 'LOGIN'],
  ['LOGIN, initial response', [`AUTH LOGIN ${base64(USER)}`, base64(PASSWORD)], 'LOGIN'],
])('AUTH %s', async (_, lines, mechanism) => {
  const client = await greeted();
  await code(client, 'EHLO client.test');
  const codes: string[] = [];
  for (const line of lines) codes.push(await code(client, line));
  expect(codes).toEqual([...lines.slice(1).map(() => '334'), '235']);
  expect(fixture.server.logins).toEqual([{ protocol: 'smtp', user: USER, mechanism, tls: false }]);
});

test.each([
  ['wrong password', [`AUTH PLAIN ${base64(`\0${USER}\0wrong`)}`], '535'],
  ['unknown user', [`AUTH PLAIN ${base64(`\0nobody\0${PASSWORD}`)}`], '535'],
  ['a name of every object', [`AUTH PLAIN ${base64('\0constructor\0x')}`], '535'],
  ['cancel', ['AUTH LOGIN', '*'], '501'],
  ['not base64', ['AUTH PLAIN', '!!!'], '501'],
  ['somebody else as authzid', [`AUTH PLAIN ${base64(`root\0${USER}\0${PASSWORD}`)}`], '501'],
  ['empty initial response', ['AUTH PLAIN ='], '501'],
  ['unknown mechanism', ['AUTH XOAUTH2 x'], '504'],
  ['more than 512 octets in one line', [`AUTH PLAIN ${'A'.repeat(504)}`], '500'],
])('AUTH refused: %s; a right login still works after it', async (_, lines, wanted) => {
  const client = await greeted();
  await code(client, 'EHLO client.test');
  let last = '';
  for (const line of lines) last = await code(client, line);
  expect(last).toBe(wanted);
  expect(await code(client, 'MAIL FROM:<a@x.test>')).toBe('530');
  expect(await code(client, `AUTH PLAIN ${PLAIN}`)).toBe('235');
});

test('dots are unstuffed, and only CRLF.CRLF ends a message whose DATA line ended in CRLF', async () => {
  const client = await loggedIn();
  client.send('MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n');
  await client.until(/354 .*\r\n/);
  client.send('Subject: s\r\n\r\n..two\r\nsmuggled\n.\nMAIL FROM:<evil@x.test>\r\n.\r\n');
  await client.until(/^250 2.0.0/);
  expect(inbox()).toHaveLength(1);
  expect(inbox()[0]?.split('\r\n\r\n')[1]).toBe('.two\r\nsmuggled\r\n.\r\nMAIL FROM:<evil@x.test>\r\n');
});

test('a person with nc sends bare LF throughout', async () => {
  const client = await greeted();
  client.send(`EHLO c\nAUTH PLAIN ${PLAIN}\nMAIL FROM:a@x.test\nRCPT TO:b@x.test\nDATA\nSubject: s\n\nhi\n.\nQUIT\n`);
  expect(await client.rest()).toMatch(/250 2.0.0 .*\r\n221 .*\r\n$/);
  expect(inbox()[0]).toMatch(/Subject: s\r\n\r\nhi\r\n$/);
});

test('mail goes to the user with that address, else to the first', async () => {
  const client = await loggedIn();
  client.send(
    'MAIL FROM:<a@x.test>\r\nRCPT TO:<bob@else.test>\r\nRCPT TO:<c@x.test>\r\nRCPT TO:<d@x.test>\r\nDATA\r\n',
  );
  await client.until(/354 .*\r\n/);
  client.send('\r\nhi\r\n.\r\n');
  await client.until(/^250 2.0.0/);
  expect([inbox().length, inbox('bob@demo.test').length]).toEqual([1, 1]);
});

test.each([
  ['RCPT TO:<b@x.test>', '503'],
  ['DATA', '503'],
  ['MAIL FROM:<a@x.test> SIZE=999999999999', '552'],
  ['MAIL FROM:<a@x.test> RET=HDRS', '555'],
  ['MAIL FROM:<a@x.test> SIZE=10 BODY=8BITMIME AUTH=<>', '250'],
  ['MAIL FROM: <a@x.test>', '250'],
  ['MAIL TO:<a@x.test>', '501'],
  ['MAIL FROM:<a b>', '501'],
  ['AUTH PLAIN x', '503'],
  ['EHLO', '501'],
  ['NOOP', '250'],
  ['RSET', '250'],
  ['VRFY x', '252'],
  ['BDAT 1', '500'],
  ['', '500'],
  ['CONSTRUCTOR', '500'],
])('after login %s is answered with %s', async (line, wanted) => {
  expect(await code(await loggedIn(), line)).toBe(wanted);
});

test('a message over the limit is refused as a whole, and the connection goes on', async () => {
  const client = await loggedIn();
  client.send('MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n');
  await client.until(/354 .*\r\n/);
  client.send(`${`${'x'.repeat(60_000)}\r\n`.repeat(180)}.\r\n`);
  expect(await client.until(/^552 .*\r\n/)).toContain('5.3.4');
  expect(inbox()).toEqual([]);
  expect(await code(client, 'NOOP')).toBe('250');
});
