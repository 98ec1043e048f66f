import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { askAdmin } from '../../cli/envoy-admin.ts';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { begin, fetchText, retrieveOnly, sendMail } from './apps.ts';
import { describeLive } from './available.ts';
import {
  type Cell,
  cells,
  plainCells,
  type Servers,
  serverPort,
  VIRTUAL_HOST,
  VIRTUAL_PORTS,
  writeConfiguration,
} from './cells.ts';
import { freePorts, type Login } from './daemon.ts';
import { type Dovecot, type DovecotOptions, startDovecot } from './dovecot.ts';
import { deliver, retrieveAll } from './mailbox.ts';
import { type Postfix, startPostfix } from './postfix.ts';
import { Wire } from './wire.ts';

const HOST = 'localhost';
const RIGHT = cells(['silent', 'plain', 'password']);
/** At servers that know AUTH LOGIN only. */
const LOGIN_ONLY = plainCells(['silent', 'plain'], 'login-only-');
const ALL_RIGHT = [...RIGHT, ...LOGIN_ONLY];
const WRONG = plainCells(['silent', 'plain', 'password'], 'wrong-');
/** Envoy, a build of the filter and three servers. */
const START_TIMEOUT = 120_000;

/** With octets above 127, dots at the start of lines, and no header field but one: whatever is changed on the way is seen. */
function text(): string {
  const nonce = randomBytes(8).toString('hex');
  return `.dot\r\n..dots\r\n\t${'x'.repeat(900)} \r\n\xe4\xff\x80\r\n${nonce}\r\n`;
}

function withoutHeader(message: string): string {
  return message.slice(message.indexOf('\r\n\r\n') + 4);
}

describeLive('Mail through Envoy and sidecar-auth', () => {
  let dir: string;
  let servers: Servers;
  let loginOnly: Servers;
  let proxy: ConnectivityProxy;
  let postern: Running;
  const ports = new Map<string, number>();

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'live-'));
    const all = [...ALL_RIGHT, ...WRONG];
    const certificates = await createCertificates(dir);
    const { cert, key } = await certificates.issue(HOST);
    const pem = { certificate: cert, key };
    const users = Object.fromEntries(all.map(({ user, password }) => [user, password]));
    servers = await startServers('all', { ...pem, users });
    loginOnly = await startServers('login-only', { ...pem, users, mechanisms: 'login' });
    const token = randomBytes(24).toString('base64url');
    proxy = await startConnectivityProxy({
      tokens: { accept: (jwt) => jwt === token },
      locations: [''],
      hosts: virtualHosts(),
    });
    const free = await freePorts(all.length);
    for (const [index, { name }] of all.entries()) ports.set(name, free[index] as number);
    const files = { ports, serversOf, caFile: certificates.caFile, proxyPort: proxy.port, token };
    const wrong = new Set(WRONG);
    const configFile = writeConfiguration(dir, all, files, (cell) => (wrong.has(cell) ? 'wrong' : cell.password));
    postern = await up({ configFile, workers: 2, logFile: join(dir, 'log') });
  }, START_TIMEOUT);

  afterAll(async () => {
    await postern?.stop();
    await proxy?.close();
    for (const pair of [servers, loginOnly]) await Promise.all([pair?.postfix.stop(), pair?.dovecot.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  async function startServers(name: string, options: DovecotOptions): Promise<Servers> {
    const home = join(dir, name);
    await mkdir(home);
    await chmod(dir, 0o711);
    const dovecot = await startDovecot(home, options);
    return { dovecot, postfix: await startPostfix(home, { ...options, dovecot }), host: HOST };
  }

  function serversOf(cell: Cell): Servers {
    return LOGIN_ONLY.includes(cell) ? loginOnly : servers;
  }

  function virtualHosts(): Record<string, { host: string; port: number }> {
    const plain = (['smtp', 'pop3', 'imap'] as const).map((protocol) => [
      `${VIRTUAL_HOST}:${VIRTUAL_PORTS[protocol]}`,
      { host: '127.0.0.1', port: serverPort({ protocol, tls: false }, servers) },
    ]);
    return Object.fromEntries(plain);
  }

  function openApp(cell: Cell): Promise<Wire> {
    return Wire.open(ports.get(cell.name) as number);
  }

  /** Connections that Envoy has opened so far, by cluster. */
  async function upstreams(): Promise<Record<string, number>> {
    const stats = await askAdmin(
      postern.adminSocket,
      '/stats?filter=^cluster%5C.postern-(direct|direct-tls|relay|fallback-.*)%5C.upstream_cx_total$',
    );
    return Object.fromEntries(
      [...stats.matchAll(/^cluster\.(.*)\.upstream_cx_total: (\d+)$/gm)].map(([, name, count]) => [
        name,
        Number(count),
      ]),
    );
  }

  /** Clusters that had connections since `before`. */
  async function clustersSince(before: Record<string, number>): Promise<string[]> {
    return Object.entries(await upstreams()).flatMap(([name, count]) => (count > (before[name] ?? 0) ? name : []));
  }

  function serverOf(cell: Cell): Postfix | Dovecot {
    const { postfix, dovecot } = serversOf(cell);
    return cell.protocol === 'smtp' ? postfix : dovecot;
  }

  /** What the mail server that the cell leads to says about the cell's account. */
  function loginsOf(cell: Cell): Login[] {
    const { user, protocol } = cell;
    return serverOf(cell)
      .logins()
      .filter((login) => login.user === user && login.service === protocol);
  }

  /** The app's part: a message goes in or is read. Returns it as it was sent and, without what servers add in front, as it arrived. */
  async function mailThrough(cell: Cell): Promise<{ sent: string; arrived: string | undefined }> {
    const { postfix, dovecot } = serversOf(cell);
    const sent = text();
    if (cell.protocol !== 'smtp') await deliver(postfix, cell, `Subject: matrix\r\n\r\n${sent}`);
    const wire = await openApp(cell);
    try {
      await begin(wire, cell.protocol, cell.kind);
      if (cell.protocol === 'imap') return { sent, arrived: await fetchText(wire) };
      if (cell.protocol === 'pop3') return { sent, arrived: withoutHeader(await retrieveOnly(wire)) };
      await sendMail(wire, cell.kind, cell.user, sent);
    } finally {
      wire.close();
    }
    await postfix.logged(new RegExp(`to=<${cell.user}>.*status=sent`));
    const mails = await retrieveAll(dovecot.pop3, cell);
    expect(mails).toHaveLength(1);
    return { sent, arrived: mails.map(withoutHeader)[0] };
  }

  it.each(ALL_RIGHT)('$name: mail arrives byte for byte', async (cell) => {
    const before = await upstreams();
    const connects = proxy.log.length;
    const { sent, arrived } = await mailThrough(cell);
    expect(arrived).toBe(sent);
    // Dovecot's log is written by a process of its own, maybe after the answer
    const login = {
      service: cell.protocol,
      user: cell.user,
      method: LOGIN_ONLY.includes(cell) ? 'LOGIN' : 'PLAIN',
      tls: cell.tls,
    };
    await expect.poll(() => loginsOf(cell)).toEqual([login]);
    const cluster = cell.onPremise ? 'postern-relay' : cell.tls ? 'postern-direct-tls' : 'postern-direct';
    expect(await clustersSince(before)).toEqual([cluster]);
    const connect = { host: VIRTUAL_HOST, port: VIRTUAL_PORTS[cell.protocol], location: '', code: 0 };
    expect(proxy.log.slice(connects)).toEqual(cell.onPremise ? [connect] : []);
  });

  it("no login was made twice, and no app's own login reached a server", () => {
    const logs = [servers, loginOnly].flatMap(({ postfix, dovecot }) => [...postfix.log(), ...dovecot.log()]);
    expect(logs.filter((line) => /<nobody>|=nobody/.test(line))).toEqual([]);
    expect(ALL_RIGHT.map(loginsOf).filter((logins) => logins.length > 1)).toEqual([]);
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

  it.each(WRONG)("$name: a wrong password is the app's to know, and nothing passes", async (cell) => {
    const { commands, answer, never } = REFUSAL[cell.protocol];
    if (cell.protocol !== 'smtp') await deliver(servers.postfix, cell, text());
    const wire = await openApp(cell);
    if (cell.kind === 'silent') {
      await wire.expect(/\r\n/);
      wire.send(commands.replaceAll('USER', cell.user));
      const answers = await wire.rest();
      expect(answers).toMatch(answer);
      expect(answers).not.toMatch(never);
    } else {
      await expect(begin(wire, cell.protocol, cell.kind)).rejects.toThrow(new RegExp(answer.source.slice(1)));
    }
    wire.close();
    await serverOf(cell).logged(new RegExp(`auth\\S* failed.*${cell.user}`));
    expect(loginsOf(cell)).toEqual([]);
    expect(await retrieveAll(servers.dovecot.pop3, cell)).toHaveLength(cell.protocol === 'smtp' ? 0 : 1);
  });
});
