import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { begin, fetchText, type LoginKind, retrieveOnly, sendMail } from './apps.ts';
import { describeLive } from './available.ts';
import { freePorts, type Login } from './daemon.ts';
import { type Dovecot, startDovecot } from './dovecot.ts';
import { deliver, retrieveAll } from './mailbox.ts';
import { type Postfix, startPostfix } from './postfix.ts';
import { Wire } from './wire.ts';

interface Case {
  /** Of the destination, and of the account at example.test. */
  name: string;
  protocol: Protocol;
  kind: LoginKind;
  /** The destination has another password than the account. */
  isWrong: boolean;
  user: string;
  password: string;
}

const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
const RIGHT = PROTOCOLS.flatMap((protocol) => (['silent', 'plain'] as const).map((kind) => newCase(protocol, kind)));
const WRONG = PROTOCOLS.map((protocol) => newCase(protocol, 'silent', true));

function newCase(protocol: Protocol, kind: LoginKind, isWrong = false): Case {
  const name = `${isWrong ? 'wrong' : 'right'}-${protocol}-${kind}`;
  return {
    name,
    protocol,
    kind,
    isWrong,
    user: `${name}@example.test`,
    password: randomBytes(9).toString('base64url'),
  };
}

/** The rows of test/matrix meet servers that offer PLAIN; here there is AUTH LOGIN only. */
describeLive('Servers that know AUTH LOGIN only', () => {
  let dir: string;
  let dovecot: Dovecot;
  let postfix: Postfix;
  let postern: Running;
  const ports = new Map<string, number>();

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'live-'));
    const all = [...RIGHT, ...WRONG];
    const certificates = await createCertificates(dir);
    const { cert, key } = await certificates.issue('localhost');
    const pem = { certificate: cert, key };
    const users = Object.fromEntries(all.map(({ user, password }) => [user, password]));
    dovecot = await startDovecot(dir, { ...pem, users, mechanisms: 'login' });
    postfix = await startPostfix(dir, { ...pem, dovecot });
    const free = await freePorts(all.length);
    for (const [index, { name }] of all.entries()) ports.set(name, free[index] as number);
    postern = await up({
      configFile: await configuration(all, certificates.caFile),
      workers: 2,
      logFile: join(dir, 'log'),
    });
  }, 120_000);

  afterAll(async () => {
    await postern?.stop();
    await Promise.all([postfix?.stop(), dovecot?.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  async function configuration(all: Case[], caFile: string): Promise<string> {
    await mkdir(join(dir, 'destinations'));
    for (const each of all) {
      const file = join(dir, 'destinations', `${each.name}.json`);
      await writeFile(file, JSON.stringify(destination(each)), { mode: 0o600 });
    }
    const file = join(dir, 'postern.yaml');
    const listeners = all.map(({ name }) => ({ destination: name, address: `127.0.0.1:${ports.get(name)}` }));
    const main = { destinations: { directory: './destinations' }, tls: { additionalCAs: [caFile] }, listeners };
    await writeFile(file, JSON.stringify(main));
    return file;
  }

  function destination({ name, protocol, user, password, isWrong }: Case): Record<string, string> {
    const transport = protocol === 'imap' ? 'imap4' : protocol;
    return {
      Name: name,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.user': user,
      'mail.password': isWrong ? 'wrong' : password,
      'mail.transport.protocol': transport,
      [`mail.${transport}.host`]: 'localhost',
      [`mail.${transport}.port`]: `${protocol === 'smtp' ? postfix.submission : dovecot[protocol]}`,
    };
  }

  function loginsOf({ user, protocol }: Case): Login[] {
    const logins = protocol === 'smtp' ? postfix.logins() : dovecot.logins();
    return logins.filter((login) => login.user === user && login.service === protocol);
  }

  it.each(RIGHT)('$protocol, $kind app: mail goes through', async (each) => {
    const { protocol, kind, user } = each;
    if (protocol !== 'smtp') await deliver(postfix, each, 'Subject: one\r\n\r\none\r\n');
    const wire = await Wire.open(ports.get(each.name) as number);
    await begin(wire, protocol, kind);
    if (protocol === 'smtp') await sendMail(wire, kind, user, 'Subject: one\r\n\r\none\r\n');
    else expect(await (protocol === 'imap' ? fetchText(wire) : retrieveOnly(wire))).toMatch(/one\r\n$/);
    wire.close();
    if (protocol === 'smtp') await postfix.logged(new RegExp(`to=<${user}>.*status=sent`));
    expect(await retrieveAll(dovecot.pop3, each)).toHaveLength(1);
    await expect.poll(() => loginsOf(each)[0]).toEqual({ service: protocol, user, method: 'LOGIN', tls: true });
  });

  /** A silent app that does not wait for answers. What it must get, and what it must not. */
  const REFUSAL = {
    smtp: {
      commands: 'MAIL FROM:USER\r\nRCPT TO:USER\r\nDATA\r\nSome test data.\r\n.\r\n',
      answer: /^535 5\.7\.8 /m,
      never: /^(250|354) /m,
    },
    imap: {
      commands: '1 LIST "" "*"\r\n2 SELECT INBOX\r\n3 FETCH 1 BODY[TEXT]\r\n',
      answer: /^1 NO \[AUTHENTICATIONFAILED\] /m,
      never: /^(\d OK|\* (LIST|\d))/m,
    },
    pop3: { commands: 'list\r\nretr 1\r\n', answer: /^-ERR \[AUTH\] /m, never: /^\+OK/m },
  };

  it.each(WRONG)(
    "$protocol: a wrong password is the app's to know, and nothing that it pipelined passes",
    async (each) => {
      const { protocol, user } = each;
      const { commands, answer, never } = REFUSAL[protocol];
      if (protocol !== 'smtp') await deliver(postfix, each, 'Subject: one\r\n\r\none\r\n');
      const wire = await Wire.open(ports.get(each.name) as number);
      await wire.expect(/\r\n/);
      wire.send(commands.replaceAll('USER', user));
      const answers = await wire.rest();
      expect(answers).toMatch(answer);
      expect(answers).not.toMatch(never);
      wire.close();
      expect(loginsOf(each)).toEqual([]);
      expect(await retrieveAll(dovecot.pop3, each)).toHaveLength(protocol === 'smtp' ? 0 : 1);
    },
  );
});
