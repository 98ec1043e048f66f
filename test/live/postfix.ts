import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, freePorts, type Login, openFolder, startDaemon } from './daemon.ts';
import type { Dovecot } from './dovecot.ts';
import { POSTFIX_DAEMONS } from './skip-reason.ts';

export interface PostfixOptions {
  /** Knows the users and their passwords, and takes their mail. */
  dovecot: Dovecot;
  /** PEM, leaf first. */
  certificate: string;
  /** PEM, unencrypted. */
  key: string;
  /** STARTTLS on the submission port: on offer (default), or demanded before AUTH is. */
  starttls?: 'offered' | 'required';
  /** `smtpd_hard_error_limit`: refused commands after which it closes. Default 20. */
  errorLimit?: number;
}

export interface Postfix extends Daemon {
  /** Port of the submission service: plain, STARTTLS offered. */
  readonly submission: number;
  /** Port of the submission service with implicit TLS. */
  readonly smtps: number;
  /** Who sent mail: a login is logged with the first recipient that Postfix accepts. */
  logins(): Login[];
}

/**
 * Starts a Postfix of our own on 127.0.0.1, in front of `dovecot`: MAIL needs AUTH (what Dovecot offers), also from loopback;
 * mail to Dovecot's users is handed to Dovecot by LMTP, everything else is refused, so that nothing leaves the machine.
 * Needs root. `dir` is a folder of the caller's (0711 afterwards), its path below 60 characters. Throws what startDaemon
 * throws.
 */
export async function startPostfix(dir: string, options: PostfixOptions): Promise<Postfix> {
  const [submission, smtps] = (await freePorts(2)) as [number, number];
  openFolder(dir);
  const home = join(dir, 'postfix');
  makeDirectories(home);
  writeFileSync(join(home, 'certificate.pem'), options.certificate);
  writeFileSync(join(home, 'key.pem'), options.key, { mode: 0o600 });
  writeFileSync(join(home, 'mailboxes'), options.dovecot.users.map((user) => `${user} ${user}\n`).join(''));
  writeFileSync(join(home, 'etc/main.cf'), mainCf(home, options));
  writeFileSync(join(home, 'etc/master.cf'), masterCf(submission, smtps));
  // Postfix waits until a file that it reads is 2 s old, for someone may still be writing it
  for (const name of ['etc/main.cf', 'mailboxes']) utimesSync(join(home, name), 0, 0);
  const command = [`${POSTFIX_DAEMONS}/master`, '-s', '-c', join(home, 'etc')];
  const daemon = await startDaemon(command, join(home, 'log'), /daemon started/);
  return { ...daemon, submission, smtps, logins: () => logins(daemon.log()) };
}

/** What `postfix check` would make, with the owners and modes of Postfix' own postfix-files. */
function makeDirectories(home: string): void {
  const owner = id('-u', 'postfix');
  const setgid = id('-g', 'postdrop');
  const make = (path: string, mode: number, uid = 0, gid = 0) => {
    mkdirSync(join(home, path), { recursive: true });
    chmodSync(join(home, path), mode);
    chownSync(join(home, path), uid, gid);
  };
  make('etc', 0o755);
  make('data', 0o700, owner);
  make('queue', 0o755);
  make('queue/pid', 0o755);
  make('queue/public', 0o710, owner, setgid);
  make('queue/maildrop', 0o1730, owner, setgid);
  for (const name of 'active bounce corrupt defer deferred flush hold incoming private saved trace'.split(' ')) {
    make(`queue/${name}`, 0o700, owner);
  }
}

/** postdrop is a group and, for `id -g`, no user: getent knows both. */
function id(kind: '-u' | '-g', name: string): number {
  const database = kind === '-u' ? 'passwd' : 'group';
  return Number(execFileSync('getent', [database, name], { encoding: 'utf8' }).split(':')[2]);
}

/** `client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=u`; TLS is told earlier, by the same process. */
function logins(log: string[]): Login[] {
  const found: Login[] = [];
  const tls = new Map<string, boolean>();
  for (const line of log) {
    const [, pid, text] = /smtpd\[(\d+)\]: (.*)/.exec(line) ?? [];
    if (pid === undefined || text === undefined) continue;
    if (text.startsWith('connect from ')) tls.set(pid, false);
    if (text.includes('TLS connection established from ')) tls.set(pid, true);
    const [, method, user] = / sasl_method=([^,]*), sasl_username=([^,]*)/.exec(text) ?? [];
    if (method && user) found.push({ service: 'smtp', user, method, tls: tls.get(pid) ?? false });
  }
  return found;
}

function mainCf(home: string, { dovecot, starttls, errorLimit = 20 }: PostfixOptions): string {
  const domains = new Set(dovecot.users.map((user) => user.split('@')[1]));
  return `
compatibility_level = 3.6
queue_directory = ${home}/queue
data_directory = ${home}/data
daemon_directory = ${POSTFIX_DAEMONS}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = ${home}/log
maillog_file_prefixes = ${home}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
disable_dns_lookups = yes
smtpd_peername_lookup = no

# who may send: nobody without AUTH, not even from this machine
mynetworks =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = ${dovecot.sasl}
smtpd_sasl_security_options = noanonymous
smtpd_tls_auth_only = ${starttls === 'required' ? 'yes' : 'no'}
# answers MAIL itself; the default tells it at RCPT
smtpd_delay_reject = no
smtpd_sender_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject

smtpd_tls_cert_file = ${home}/certificate.pem
smtpd_tls_key_file = ${home}/key.pem
smtpd_tls_security_level = ${starttls === 'required' ? 'encrypt' : 'may'}
smtpd_tls_loglevel = 1

# where mail goes: to Dovecot, or nowhere
mydestination =
local_transport = error:no local delivery
relay_domains =
default_transport = error:no mail leaves this machine
virtual_mailbox_domains = ${[...domains].join(' ')}
virtual_mailbox_maps = texthash:${home}/mailboxes
virtual_transport = lmtp:unix:${dovecot.lmtp}
local_recipient_maps =
alias_maps =
# the message arrives as it was sent, with trace fields in front
local_header_rewrite_clients =
append_dot_mydomain = no

# all clients have one address, and a test must not wait for a penalty (defaults: 50 connections, 1 s)
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = ${errorLimit}
`;
}

function masterCf(submission: number, smtps: number): string {
  return `
127.0.0.1:${submission} inet n - n - - smtpd -o syslog_name=postfix/submission
127.0.0.1:${smtps} inet n - n - - smtpd -o syslog_name=postfix/smtps -o smtpd_tls_wrappermode=yes
cleanup  unix n - n - 0     cleanup
qmgr     unix n - n 300 1   qmgr
tlsmgr   unix - - n 1000? 1 tlsmgr
rewrite  unix - - n - -     trivial-rewrite
bounce   unix - - n - 0     bounce
defer    unix - - n - 0     bounce
trace    unix - - n - 0     bounce
proxymap unix - - n - -     proxymap
error    unix - - n - -     error
retry    unix - - n - -     error
lmtp     unix - - n - -     lmtp
anvil    unix - - n - 1     anvil
postlog  unix-dgram n - n - 1 postlogd
`;
}
