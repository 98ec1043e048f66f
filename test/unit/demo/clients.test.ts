import { execFile, spawnSync } from 'node:child_process';
import { ImapFlow } from 'imapflow';
import nodemailer from 'nodemailer';
import { describe, expect, test } from 'vitest';
import { BOB, BOBS_PASSWORD, PASSWORD, USER, useMailServer } from './fixture.ts';

const fixture = useMailServer();
const auth = { user: USER, pass: PASSWORD };
const host = '127.0.0.1';
/** Over TLS the name counts. */
const name = 'localhost';

function missing(program: string): boolean {
  return spawnSync(program, ['--version']).status !== 0;
}

/** Standard output; rejects with standard error. */
function run(program: string, args: string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, (error, stdout) => (error ? reject(error) : resolve(stdout)));
    child.stdin?.end(input);
  });
}

describe.each([
  ['plain', false],
  ['tls', true],
] as const)('%s', (kind, secure) => {
  const server = () => (secure ? name : host);
  const tls = () => ({ ca: fixture.certificates.ca });

  test('nodemailer sends what imapflow reads', async () => {
    const port = fixture.server.ports[kind];
    const transport = nodemailer.createTransport({ host: server(), port: port.smtp, secure, auth, tls: tls() });
    const mail = { from: 'a@x.test', to: 'b@x.test', subject: 'grüße', text: '.dot\n€', html: '<b>€</b>' };
    await transport.sendMail(mail);
    const client = new ImapFlow({ host: server(), port: port.imap, secure, auth, tls: tls(), logger: false });
    await client.connect();
    await client.mailboxOpen('INBOX');
    const message = await client.fetchOne('*', { envelope: true, bodyStructure: true, flags: true, uid: true });
    expect(message).toMatchObject({
      envelope: { subject: 'grüße', from: [{ address: 'a@x.test' }] },
      bodyStructure: { type: 'multipart/alternative' },
    });
    const { content } = await client.download('*', '1');
    expect(Buffer.concat((await content?.toArray()) ?? []).toString()).toBe('.dot\r\n€');
    await client.messageFlagsAdd('1', ['\\Flagged']);
    expect(await client.search({ flagged: true })).toEqual([1]);
    await client.append('Sent', 'Subject: copy\r\n\r\nx');
    expect(await client.status('Sent', { messages: true })).toMatchObject({ messages: 1 });
    expect((await client.list()).map((mailbox) => mailbox.path)).toContain('INBOX');
    await client.messageDelete('1');
    await client.logout();
    expect(fixture.server.store.inbox(USER).messages).toEqual([]);
    expect(fixture.server.logins.map((login) => login.tls)).toEqual([secure, secure]);
  });

  test.skipIf(missing('python3'))("python3's smtplib, poplib and imaplib (skipped without python3)", async () => {
    const { smtp, pop3, imap } = fixture.server.ports[kind];
    const ca = fixture.certificates.caFile;
    const script = `
import imaplib, poplib, smtplib, ssl, sys
user, password = sys.argv[1:]
tls = ssl.create_default_context(cafile='${ca}')
s = smtplib.SMTP${secure ? `_SSL('localhost', ${smtp}, context=tls)` : `('localhost', ${smtp})`}
s.login(user, password)
s.sendmail('a@x.test', [user], 'Subject: py\\n\\n.dot\\n')
s.quit()
p = poplib.POP3${secure ? `_SSL('localhost', ${pop3}, context=tls)` : `('localhost', ${pop3})`}
p.user(user); p.pass_(password)
print('SASL' in p.capa(), p.stat()[0], p.retr(1)[1][-1], len(p.uidl()[1]))
p.quit()
i = imaplib.IMAP4${secure ? `_SSL('localhost', ${imap}, ssl_context=tls)` : `('localhost', ${imap})`}
i.authenticate('PLAIN', lambda _: ('\\0' + user + '\\0' + password).encode())
i.select()
print(i.fetch('1', '(BODY[TEXT])')[1][0][1], i.search(None, 'SUBJECT', 'py')[1])
i.store('1', '+FLAGS', '\\\\Deleted'); print(i.expunge()[1])
i.logout()
`;
    const output = await run('python3', ['-c', script, BOB, BOBS_PASSWORD]);
    expect(output).toBe("True 1 b'.dot' 1\nb'.dot\\r\\n' [b'1']\n[b'1']\n");
  });

  test.skipIf(missing('curl'))('curl (skipped without curl)', async () => {
    const ports = fixture.server.ports[kind];
    const s = secure ? 's' : '';
    const common = [
      '-sS',
      '--max-time',
      '10',
      '--cacert',
      fixture.certificates.caFile,
      '--user',
      `${USER}:${PASSWORD}`,
    ];
    const at = (protocol: 'smtp' | 'imap' | 'pop3') => `${protocol}${s}://${server()}:${ports[protocol]}`;
    const envelope = ['--mail-from', 'a@x.test', '--mail-rcpt', 'b@x.test', '-T', '-'];
    await run('curl', [...common, ...envelope, at('smtp')], 'Subject: curl\r\n\r\nhi\r\n');
    expect(await run('curl', [...common, `${at('imap')}/INBOX;MAILINDEX=1`])).toMatch(/Subject: curl\r\n\r\nhi\r\n$/);
    expect(await run('curl', [...common, `${at('pop3')}/1`])).toMatch(/Subject: curl\r\n\r\nhi\r\n$/);
    expect(fixture.server.logins.map((login) => login.protocol)).toEqual(['smtp', 'imap', 'pop3']);
  });
});

test.skipIf(missing('curl')).each([
  ['smtp', ['--mail-from', 'a@x.test', '--mail-rcpt', 'b@x.test', '-T', '-']],
  ['imap', []],
  ['pop3', []],
] as const)('curl without a login gets nowhere over %s (skipped without curl)', async (protocol, args) => {
  const url = `${protocol}://${host}:${fixture.server.ports.plain[protocol]}/`;
  await expect(run('curl', ['-sS', '--max-time', '10', ...args, url], 'Subject: x\n\n')).rejects.toThrow(
    /curl: \(\d+\)/,
  );
  expect(fixture.server.logins).toEqual([]);
});
