import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImapFlow } from 'imapflow';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCertificates } from '../../demo/certificates.ts';
import { describeLive } from './available.ts';
import type { Daemon } from './daemon.ts';
import { type Dovecot, type DovecotOptions, startDovecot } from './dovecot.ts';
import { deliver, retrieveAll } from './mailbox.ts';
import { type Postfix, startPostfix } from './postfix.ts';
import { Wire } from './wire.ts';

const NAME = 'mail.example.test';
const ANN = 'ann@example.test';
const PASSWORD = 'p:ä "\\x';

function message(): string {
  const nonce = randomBytes(8).toString('hex');
  // a dot at the start of a line is doubled on the wire, and a bare header field must not be rewritten
  return `Subject: ${nonce}\r\n\r\n.dot\r\n..dots\r\n\t${'x'.repeat(900)} \r\n${nonce}\r\n`;
}

/** Processes of a server: all are in the process group of its master. Zombies wait for the init process only. */
function processes(server: Daemon): number {
  const stats = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return stats.filter((pid) => {
    const [, state, group] = /\) (\w) \d+ (\d+) /.exec(stat(pid)) ?? [];
    return Number(group) === server.pid && state !== 'Z';
  }).length;
}

function stat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return ''; // it has just ended
  }
}

describeLive('Dovecot and Postfix of our own', () => {
  let dir: string;
  let ca: string;
  let pem: { certificate: string; key: string };
  let dovecot: Dovecot;
  let postfix: Postfix;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'live-'));
    const certificates = await createCertificates(dir);
    const { cert, key } = await certificates.issue(NAME);
    pem = { certificate: cert, key };
    ca = certificates.ca;
    dovecot = await startDovecot(dir, { ...pem, users: { [ANN]: PASSWORD } });
    postfix = await startPostfix(dir, { ...pem, dovecot });
  });
  afterAll(async () => {
    await Promise.all([postfix?.stop(), dovecot?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  const account = (password = PASSWORD) => ({ user: ANN, password });
  const tls = (secure: boolean) => (secure ? { tls: { ca, name: NAME } } : {});

  async function readImap(secure: boolean, pass = PASSWORD): Promise<string[]> {
    const client = new ImapFlow({
      host: '127.0.0.1',
      port: secure ? dovecot.imaps : dovecot.imap,
      secure,
      doSTARTTLS: false,
      auth: { user: ANN, pass },
      tls: { ca, servername: NAME },
      logger: false,
    });
    await client.connect();
    await client.mailboxOpen('INBOX');
    const mails = await client.fetchAll('1:*', { source: true });
    await client.logout();
    return mails.map((mail) => mail.source?.toString('latin1') ?? '');
  }

  function readPop3(secure: boolean, password = PASSWORD): Promise<string[]> {
    return retrieveAll(secure ? dovecot.pop3s : dovecot.pop3, account(password), tls(secure).tls);
  }

  it.each([
    { secure: false, method: 'PLAIN' },
    { secure: false, method: 'LOGIN' },
    { secure: true, method: 'PLAIN' },
    { secure: true, method: 'LOGIN' },
  ])('mail sent with $method, TLS $secure, is mail read by IMAP and POP3', async ({ secure, method }) => {
    const raw = message();
    const before = { sent: postfix.logins().length, read: dovecot.logins().length };
    await deliver(postfix, account(), raw, { method, ...tls(secure) });
    for (const read of [readImap, readPop3]) {
      const mail = (await read(secure)).at(-1) ?? '';
      expect(mail.slice(-raw.length)).toBe(raw);
    }
    expect(postfix.logins().slice(before.sent)).toEqual([{ service: 'smtp', user: ANN, method, tls: secure }]);
    const imap = { service: 'imap', user: ANN, method: 'PLAIN', tls: secure };
    const pop3 = { service: 'pop3', user: ANN, method: 'LOGIN', tls: secure };
    // Dovecot's log is written by a process of its own, maybe after the answer
    await expect.poll(() => dovecot.logins().slice(before.read)).toEqual([imap, pop3]);
  });

  it.each([false, true])('MAIL without AUTH is refused, with AUTH it is taken (TLS %s)', async (secure) => {
    const wire = await Wire.open(secure ? postfix.smtps : postfix.submission, tls(secure).tls);
    await wire.expect(/^220 .*\r\n/);
    await wire.ask('EHLO app', /250 .*\r\n/);
    expect(await wire.ask(`MAIL FROM:<${ANN}>`, /\r\n/)).toMatch(/^554 5\.7\.1 /);
    await wire.ask(`AUTH PLAIN ${Buffer.from(`\0${ANN}\0${PASSWORD}`).toString('base64')}`, /^235 .*\r\n/);
    expect(await wire.ask(`MAIL FROM:<${ANN}>`, /\r\n/)).toMatch(/^250 /);
    expect(await wire.ask('RCPT TO:<someone@elsewhere.test>', /\r\n/)).toMatch(/^550 .* no mail leaves this machine/);
    expect(await wire.ask('RCPT TO:<unknown@example.test>', /\r\n/)).toMatch(/^550 5\.1\.1 /);
    wire.close();
  });

  it('a wrong password is refused everywhere, and no login is logged', async () => {
    const before = { sent: postfix.logins().length, read: dovecot.logins().length };
    const refused = [false, true].flatMap((secure) => [
      expect(deliver(postfix, account('wrong'), message(), { method: 'PLAIN', ...tls(secure) })).rejects.toMatchObject({
        responseCode: 535,
      }),
      expect(deliver(postfix, account('wrong'), message(), { method: 'LOGIN', ...tls(secure) })).rejects.toMatchObject({
        responseCode: 535,
      }),
      expect(readImap(secure, 'wrong')).rejects.toMatchObject({ authenticationFailed: true }),
      expect(readPop3(secure, 'wrong')).rejects.toThrow('-ERR [AUTH]'),
    ]);
    await Promise.all(refused);
    expect(postfix.logins().length).toBe(before.sent);
    expect(dovecot.logins().length).toBe(before.read);
  });

  it('a second pair runs beside the first, with LOGIN only and another greeting, and nothing of it is left', async () => {
    const other = await mkdtemp(join(tmpdir(), 'live-'));
    const options: DovecotOptions = {
      ...pem,
      users: { [ANN]: 'other' },
      mechanisms: 'login',
      greeting: 'hello there',
      capability: '+X-TEST',
    };
    const second = await startDovecot(other, options);
    const third = await startPostfix(other, { ...pem, dovecot: second });
    const imap = await Wire.open(second.imap);
    expect(await imap.expect(/\r\n/)).toMatch(/^\* OK \[CAPABILITY .* X-TEST.*\] hello there/);
    expect(await imap.ask('1 CAPABILITY', /1 OK.*\r\n/)).toMatch(/ AUTH=LOGIN(?!.* AUTH=PLAIN)/);
    const smtp = await Wire.open(third.submission);
    await smtp.expect(/^220 .*\r\n/);
    expect(await smtp.ask('EHLO app', /250 .*\r\n/)).toContain('250-AUTH LOGIN\r\n');
    await Promise.all([third.stop(), second.stop()]);
    for (const server of [second, third]) await expect.poll(() => processes(server)).toBe(0);
    for (const server of [dovecot, postfix]) expect(processes(server)).toBeGreaterThan(1);
    await rm(other, { recursive: true });
  });
});
