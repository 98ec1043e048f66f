import { expect, test } from 'vitest';
import { PASSWORD, PLAIN, USER, useMailServer } from './fixture.ts';
import { type Talk, talk } from './talk.ts';

const fixture = useMailServer();
const base64 = (text: string) => Buffer.from(text).toString('base64');
const latin1 = (text: string) => Buffer.from(text).toString('latin1');

async function greeted(): Promise<Talk> {
  const client = talk(fixture.server.ports.plain.pop3);
  await client.until(/^\+OK .*\r\n/);
  return client;
}

async function line(client: Talk, command: string): Promise<string> {
  client.send(`${command}\r\n`);
  return client.until(/^(?:\+|-).*\r\n/);
}

async function multiLine(client: Talk, command: string): Promise<string> {
  client.send(`${command}\r\n`);
  return client.until(/^\.\r\n/m);
}

async function loggedIn(...contents: string[]): Promise<Talk> {
  for (const content of contents) fixture.server.store.inbox(USER).add(content);
  const client = await greeted();
  expect(await line(client, `AUTH PLAIN ${PLAIN}`)).toMatch(/^\+OK/);
  return client;
}

test.each(['STAT', 'list', 'RETR 1', 'UIDL', 'TOP 1 0', 'DELE 1', 'NOOP', 'RSET'])(
  '%s before login is -ERR; after it, it is not',
  async (command) => {
    expect(await line(await greeted(), command)).toMatch(/^-ERR/);
    expect(await line(await loggedIn('a\r\n\r\nb\r\n'), command)).toMatch(/^\+OK/);
  },
);

test('the documented dialogue in lower case, pipelined', async () => {
  const client = await loggedIn('Subject: a\r\n\r\none\r\n', 'Subject: b\r\n\r\n.two\r\n');
  client.send('list\r\nretr 1\r\nretr 2\r\nquit\r\n');
  expect(await client.rest()).toBe(
    '+OK 2 messages\r\n1 19\r\n2 20\r\n.\r\n' +
      '+OK\r\nSubject: a\r\n\r\none\r\n.\r\n+OK\r\nSubject: b\r\n\r\n..two\r\n.\r\n+OK Bye\r\n',
  );
});

test.each([
  ['USER and PASS', [`user ${USER}`, `pass ${latin1(PASSWORD)}`], 'USER'],
  ['AUTH PLAIN, two lines', ['AUTH PLAIN', PLAIN], 'PLAIN'],
  ['AUTH LOGIN', ['auth login', base64(USER), base64(PASSWORD)], 'LOGIN'],
])('login: %s', async (_, lines, mechanism) => {
  const client = await greeted();
  let last = '';
  for (const text of lines) last = await line(client, text);
  expect(last).toMatch(/^\+OK/);
  expect(fixture.server.logins).toEqual([{ protocol: 'pop3', user: USER, mechanism, tls: false }]);
});

test.each([
  ['wrong password', [`USER ${USER}`, 'PASS wrong'], /^-ERR \[AUTH\]/],
  ['a password with a space too many', [`USER ${USER}`, `PASS ${latin1(PASSWORD)} `], /^-ERR \[AUTH\]/],
  ['PASS without USER', [`PASS ${PASSWORD}`], /^-ERR/],
  ['cancel', ['AUTH PLAIN', '*'], /^-ERR/],
  ['unknown mechanism', ['AUTH XOAUTH2 x'], /^-ERR/],
  ['APOP', ['APOP ann abc'], /^-ERR/],
  ['a line over 255 octets', [`AUTH PLAIN ${'A'.repeat(300)}`], /^-ERR Line too long/],
])('login refused: %s; a right login still works after it', async (_, lines, wanted) => {
  const client = await greeted();
  let last = '';
  for (const text of lines) last = await line(client, text);
  expect(last).toMatch(wanted);
  expect(await line(client, 'STAT')).toMatch(/^-ERR/);
  expect(await line(client, `AUTH PLAIN ${PLAIN}`)).toMatch(/^\+OK/);
});

test('CAPA and AUTH list what there is', async () => {
  const client = await greeted();
  expect(await multiLine(client, 'CAPA')).toContain('\r\nSASL PLAIN LOGIN\r\n');
  expect(await multiLine(client, 'AUTH')).toBe('+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n');
});

test('TOP, UIDL and message numbers that are none', async () => {
  const client = await loggedIn('Subject: a\r\n\r\none\r\ntwo\r\n');
  expect(await multiLine(client, 'TOP 1 1')).toBe('+OK\r\nSubject: a\r\n\r\none\r\n.\r\n');
  expect(await line(client, 'UIDL 1')).toMatch(/^\+OK 1 \S+\r\n/);
  for (const bad of ['RETR 0', 'RETR 2', 'RETR', 'RETR x', 'LIST 9', 'TOP 1', 'DELE 99999999999']) {
    expect(await line(client, bad), bad).toMatch(/^-ERR/);
  }
});

test('deletions count only after QUIT', async () => {
  const inbox = fixture.server.store.inbox(USER);
  const lost = await loggedIn('a\r\n\r\nb\r\n', 'c\r\n\r\nd\r\n');
  expect(await line(lost, 'DELE 1')).toMatch(/^\+OK/);
  expect(await line(lost, 'RETR 1')).toMatch(/^-ERR/);
  lost.socket.destroy();
  const client = await loggedIn();
  expect(await line(client, 'STAT')).toMatch(/^\+OK 2 /);
  await line(client, 'DELE 1');
  await line(client, 'RSET');
  await line(client, 'DELE 2');
  await line(client, 'QUIT');
  expect(inbox.messages.map((message) => message.content[0])).toEqual(['a']);
});
