import { expect, test } from 'vitest';
import { PASSWORD, PLAIN, USER, useMailServer } from './fixture.ts';
import { type Talk, talk } from './talk.ts';

const fixture = useMailServer();
const base64 = (text: string) => Buffer.from(text).toString('base64');
const latin1 = (text: string) => Buffer.from(text).toString('latin1');
const QUOTED = latin1(PASSWORD).replaceAll('"', '\\"');

async function greeted(): Promise<Talk> {
  const client = talk(fixture.server.ports.plain.imap);
  await client.until(/^\* OK .*\r\n/);
  return client;
}

/** Sends a command, returns everything up to its tagged response. */
async function run(client: Talk, command: string): Promise<string> {
  client.send(`t ${command}\r\n`);
  return client.until(/^t .*\r\n/m);
}

async function selected(...contents: string[]): Promise<Talk> {
  for (const content of contents) fixture.server.store.inbox(USER).add(content);
  const client = await greeted();
  expect(await run(client, `AUTHENTICATE PLAIN ${PLAIN}`)).toMatch(/^t OK \[CAPABILITY /);
  await run(client, 'SELECT INBOX');
  return client;
}

const MAIL =
  'From: "Ann, A" <ann@x.test>\r\nTo: b@x.test, Carl <c@y.test>\r\nSubject: hi \\"\r\nX-Long: a\r\n b\r\n\r\nbody\r\n';
const MULTIPART = [
  'Subject: parts',
  'Content-Type: multipart/mixed; boundary="B"',
  '',
  'preamble',
  '--B',
  'Content-Type: text/plain; charset=utf-8',
  '',
  'one',
  '--B',
  'Content-Type: message/rfc822',
  '',
  'Subject: inner',
  '',
  'two',
  '--B--',
  '',
].join('\r\n');

test.each([
  'LIST "" "*"',
  'SELECT INBOX',
  'STATUS INBOX (MESSAGES)',
  'IDLE',
  'FETCH 1 BODY[TEXT]',
  'EXPUNGE',
  'NAMESPACE',
])('%s before login is refused; after it, it is not', async (command) => {
  const client = await greeted();
  expect(await run(client, command)).toMatch(/^t BAD /);
  if (command === 'IDLE') return;
  const other = await selected(MAIL);
  expect(await run(other, command)).toMatch(/^t OK /m);
});

test.each([
  ['quoted', `LOGIN ${USER} "${QUOTED}"`, 'LOGIN'],
  ['LITERAL+', `LOGIN {${USER.length}+}\r\n${USER} {${latin1(PASSWORD).length}+}\r\n${latin1(PASSWORD)}`, 'LOGIN'],
  ['SASL-IR', `authenticate plain ${PLAIN}`, 'PLAIN'],
])('login: %s', async (_, command, mechanism) => {
  expect(await run(await greeted(), command)).toMatch(/^t OK /);
  expect(fixture.server.logins).toEqual([{ protocol: 'imap', user: USER, mechanism, tls: false }]);
});

test('login with synchronising literals', async () => {
  const client = await greeted();
  client.send(`t LOGIN {${USER.length}}\r\n`);
  await client.until(/^\+ .*\r\n/);
  client.send(`${USER} {${latin1(PASSWORD).length}}\r\n`);
  await client.until(/^\+ .*\r\n/);
  client.send(`${latin1(PASSWORD)}\r\n`);
  expect(await client.until(/^t .*\r\n/)).toMatch(/^t OK /);
});

test('AUTHENTICATE LOGIN in three lines', async () => {
  const client = await greeted();
  client.send('t AUTHENTICATE LOGIN\r\n');
  expect(await client.until(/^\+ .*\r\n/)).toBe(`+ ${base64('Username:')}\r\n`);
  client.send(`${base64(USER)}\r\n`);
  await client.until(/^\+ .*\r\n/);
  client.send(`${base64(PASSWORD)}\r\n`);
  expect(await client.until(/^t .*\r\n/)).toMatch(/^t OK /);
});

test.each([
  ['wrong password', `LOGIN ${USER} wrong`, /^t NO \[AUTHENTICATIONFAILED\]/],
  ['unknown mechanism', 'AUTHENTICATE XOAUTH2 x', /^t NO /],
  ['empty response', 'AUTHENTICATE PLAIN =', /^t BAD /],
  ['no password', `LOGIN ${USER}`, /^t BAD /],
  ['too big a literal', 'LOGIN {100000}', /^t NO \[TOOBIG\]/],
  ['no tag', '', /^\* BAD /m],
])('login refused: %s; a right login still works after it', async (_, command, wanted) => {
  const client = await greeted();
  client.send(`t ${command}\r\n`);
  expect(await client.until(/^(?:t|\*) .*\r\n/)).toMatch(wanted);
  expect(await run(client, 'LIST "" "*"')).toMatch(/^t BAD /);
  expect(await run(client, `AUTHENTICATE PLAIN ${PLAIN}`)).toMatch(/^t OK /);
});

test('AUTHENTICATE is cancelled with *', async () => {
  const client = await greeted();
  client.send('t AUTHENTICATE PLAIN\r\n');
  await client.until(/^\+ \r\n/);
  client.send('*\r\n');
  expect(await client.until(/^t .*\r\n/)).toMatch(/^t BAD /);
});

test('the documented dialogue', async () => {
  const client = await selected(MAIL);
  client.send('2 LIST "" "*"\r\n3 SELECT INBOX\r\n5 FETCH 1 BODY[TEXT]\r\n6 LOGOUT\r\n');
  const answers = await client.rest();
  expect(answers).toContain('* LIST (\\HasNoChildren) "/" "INBOX"\r\n');
  expect(answers).toMatch(/\* 1 EXISTS\r\n[\s\S]*3 OK \[READ-WRITE\]/);
  expect(answers).toContain('* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n FLAGS (\\Seen))\r\n5 OK ');
  expect(answers).toMatch(/\* BYE .*\r\n6 OK .*\r\n$/);
});

test.each([
  ['(UID FLAGS RFC822.SIZE)', `(UID 1 FLAGS () RFC822.SIZE ${MAIL.length})`],
  [
    'BODY.PEEK[HEADER.FIELDS (subject x-long)]',
    'BODY[HEADER.FIELDS (SUBJECT X-LONG)] {33}\r\nSubject: hi \\"\r\nX-Long: a\r\n b\r\n\r\n)',
  ],
  ['BODY.PEEK[HEADER.FIELDS.NOT (from to subject)]', '{17}\r\nX-Long: a\r\n b\r\n\r\n)'],
  ['BODY.PEEK[]<3.4>', 'BODY[]<3> {4}\r\nm: ")'],
  ['BODY.PEEK[1]', 'BODY[1] {6}\r\nbody\r\n)'],
  ['BODY.PEEK[2]', 'BODY[2] NIL)'],
  ['RFC822.HEADER', `RFC822.HEADER {${MAIL.length - 6}}\r\nFrom`],
  [
    'ENVELOPE',
    '(NIL "hi \\\\\\"" (("Ann, A" NIL "ann" "x.test")) (("Ann, A" NIL "ann" "x.test")) (("Ann, A" NIL "ann" "x.test")) ((NIL NIL "b" "x.test")("Carl" NIL "c" "y.test")) NIL NIL NIL NIL)',
  ],
  ['BODYSTRUCTURE', '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 6 1)'],
])('FETCH %s', async (items, wanted) => {
  const client = await selected(MAIL);
  expect(await run(client, `FETCH 1 ${items}`)).toContain(wanted);
  expect(fixture.server.store.inbox(USER).messages[0]?.flags.size).toBe(0);
});

test.each([
  ['BODY[1]', '{3}\r\none'],
  ['BODY[1.MIME]', 'charset=utf-8\r\n\r\n'],
  ['BODY[2.HEADER]', '{18}\r\nSubject: inner\r\n\r\n'],
  ['BODY[2.TEXT]', '{3}\r\ntwo'],
  ['BODY[2.1]', '{3}\r\ntwo'],
  ['BODY[3]', 'NIL'],
  [
    'BODYSTRUCTURE',
    '(("TEXT" "PLAIN" ("charset" "utf-8") NIL NIL "7BIT" 3 0)("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 21 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 0) 2) "MIXED")',
  ],
])('FETCH of a multipart: %s', async (item, wanted) => {
  expect(await run(await selected(MULTIPART), `FETCH 1 ${item}`)).toContain(wanted);
});

test('sets, UIDs, flags, search, expunge', async () => {
  const client = await selected('Subject: a\r\n\r\n1', 'Subject: b\r\n\r\n2', 'Subject: c\r\n\r\n3');
  expect(await run(client, 'STORE 2 +FLAGS (\\deleted kept)')).toContain('* 2 FETCH (FLAGS (\\Deleted kept))');
  expect(await run(client, 'STORE 1,3 FLAGS.SILENT \\Seen')).toBe('t OK STORE completed\r\n');
  expect(await run(client, 'SEARCH ALL')).toContain('* SEARCH 1 2 3\r\n');
  expect(await run(client, 'SEARCH NOT SEEN SUBJECT B')).toContain('* SEARCH 2\r\n');
  expect(await run(client, 'EXPUNGE')).toBe('* 2 EXPUNGE\r\nt OK EXPUNGE completed\r\n');
  expect(await run(client, 'UID SEARCH 2:*')).toContain('* SEARCH 3\r\n');
  expect(await run(client, 'UID FETCH 9:* FLAGS')).toContain('* 2 FETCH (UID 3 FLAGS (\\Seen))');
  expect(await run(client, 'STATUS inbox (MESSAGES UIDNEXT UNSEEN)')).toContain('(MESSAGES 2 UIDNEXT 4 UNSEEN 0)');
});

test('EXAMINE changes nothing, SELECT does', async () => {
  const client = await selected(MAIL);
  await run(client, 'EXAMINE INBOX');
  expect(await run(client, 'FETCH 1 BODY[]')).not.toContain('Seen');
  expect(await run(client, 'STORE 1 +FLAGS (\\Deleted)')).toMatch(/^t NO \[READ-ONLY\]/);
  await run(client, 'SELECT INBOX');
  expect(await run(client, 'FETCH 1 BODY[]')).toContain('FLAGS (\\Seen)');
});

test('IDLE tells of new mail and of mail that went', async () => {
  const client = await selected(MAIL);
  client.send('i IDLE\r\n');
  await client.until(/^\+ .*\r\n/);
  const inbox = fixture.server.store.inbox(USER);
  inbox.add(MAIL);
  expect(await client.until(/EXISTS\r\n/)).toBe('* 2 EXISTS\r\n');
  inbox.remove(new Set(inbox.messages.slice(0, 1)));
  expect(await client.until(/EXPUNGE\r\n/)).toBe('* 1 EXPUNGE\r\n');
  client.send('DONE\r\n');
  expect(await client.until(/^i .*\r\n/)).toMatch(/^i OK /);
});

test('APPEND keeps a message that ends like a literal, and its flags', async () => {
  const client = await selected();
  client.send('t APPEND Sent (\\seen) "25-Nov-2026 10:00:00 +0000" {7}\r\n');
  await client.until(/^\+ .*\r\n/);
  client.send('a\r\n\r\n{5\r\n');
  expect(await client.until(/^t .*\r\n/m)).toMatch(/^t OK /);
  expect(await run(client, 'APPEND Sent {3+}\r\n{1}')).toMatch(/^t OK /);
  const sent = fixture.server.store.mailbox(USER, 'Sent')?.messages ?? [];
  expect(sent.map((message) => message.content)).toEqual(['a\r\n\r\n{5', '{1}']);
  expect([...(sent[0]?.flags ?? [])]).toEqual(['\\Seen']);
});

test('nesting has an end', async () => {
  const client = await selected(MAIL);
  expect(await run(client, `FETCH 1 ${'('.repeat(5000)}`)).toMatch(/^t BAD /);
  expect(await run(client, `SEARCH ${'NOT '.repeat(5000)}SEEN`)).toMatch(/^t BAD /);
  expect(await run(client, 'SEARCH NOT (NOT (SEEN))')).toContain('* SEARCH\r\n');
});

test.each([
  ['FETCH 1 (', /^t BAD /],
  ['FETCH x FLAGS', /^t BAD /],
  ['FETCH 1 BODY[', /^t BAD /],
  ['FETCH 1 BODY[PASSWORD]', /^t BAD /],
  ['SEARCH CONSTRUCTOR', /^t BAD /],
  ['CONSTRUCTOR', /^t BAD /],
  ['SELECT nowhere', /^t NO \[NONEXISTENT\]/],
  ['LIST "" ""', /^\* LIST \(\\Noselect\)/],
  ['LIST "" "%(["', /^t OK /],
  ['LIST "" inbox', /"INBOX"/],
  ['ID ("name" NIL)', /^\* ID /],
  ['ENABLE UTF8=ACCEPT', /^\* ENABLED\r\n/],
  ['LSUB "" "S*"', /^\* LSUB .* "Sent"\r\n/],
  ['CLOSE', /^t OK /],
])('after SELECT %s', async (command, wanted) => {
  expect(await run(await selected(MAIL), command)).toMatch(wanted);
});
