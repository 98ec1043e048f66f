import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingPackages } from '../../scripts/lib/mail-servers.ts';
import { freePorts, openFolder, startDaemon } from '../../test/live/daemon.ts';
import { family } from '../processes.ts';
import { type Arm, type ArmOptions, PROTOCOLS, type Protocol, WORKERS } from './arm.ts';

export const PACKAGES = ['dovecot-imapd', 'dovecot-pop3d', 'dovecot-submissiond'];

/** The Debian packages that it lacks; undefined where it can run. */
export const missing = (): string | undefined => missingPackages(PACKAGES).join(', ') || undefined;

export interface DovecotOptions extends ArmOptions {
  /** How it reaches the server: in clear or by STARTTLS with the account's password, or by TLS with its token. Default `plain`. */
  transport?: 'plain' | 'starttls' | 'tls';
}

/** Dovecot's login processes as a proxy, as large sites run it. No mail is stored. */
export async function start(options: DovecotOptions): Promise<Arm> {
  const [smtp, imap, pop3] = (await freePorts(3)) as [number, number, number];
  const ports = { smtp, imap, pop3 };
  // Its login processes run as users of their own.
  openFolder(options.directory);
  const home = join(options.directory, 'dovecot');
  mkdirSync(home);
  const file = join(home, 'dovecot.conf');
  writeFileSync(file, configuration(home, options, ports), { mode: 0o600 });
  const daemon = await startDaemon(['dovecot', '-F', '-c', file], join(home, 'log'), /Dovecot v\S+ .*starting up/);
  const name = `dovecot ${options.transport ?? 'plain'}`;
  return { name, ports, pids: () => family(daemon.pid), stop: daemon.stop };
}

function configuration(home: string, options: DovecotOptions, ports: Record<Protocol, number>): string {
  return `
base_dir = ${home}/run
state_dir = ${home}/state
log_path = ${home}/log
protocols = imap pop3 submission
listen = 127.0.0.1
submission_host = bench

ssl = no
# login processes are chrooted and take no ssl_client_ca_file
ssl_ca = <${options.ca}
ssl_require_crl = no
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {
  driver = static
  args = nopassword=y proxy=y ${destination(options)}
}

# no limit of memory or of connections is to be met with thousands of idle ones
default_vsz_limit = 0
default_client_limit = 9500
${PROTOCOLS.map((protocol) => service(protocol, ports[protocol])).join('')}
# all connections come from one address: no delay that grows with its wrong passwords
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`;
}

/** Dovecot's own name of a protocol. */
const SERVICE = { smtp: 'submission', imap: 'imap', pop3: 'pop3' };

/** "High-performance mode" of Dovecot's documentation: as many processes as there are workers, each for many connections. */
function service(protocol: Protocol, port: number): string {
  return `
service ${SERVICE[protocol]}-login {
  service_count = 0
  process_min_avail = ${WORKERS}
  process_limit = ${WORKERS}
  inet_listener ${SERVICE[protocol]} {
    port = ${port}
  }
}`;
}

/** Fields of a proxying passdb. The name is what the certificate is held against; nothing is to be looked up. */
function destination({ transport = 'plain', upstream, token }: DovecotOptions): string {
  const port = (protocol: Protocol) => upstream[transport === 'tls' ? `${protocol}s` : protocol];
  const ports = `%{if;%s;eq;imap;${port('imap')};%{if;%s;eq;pop3;${port('pop3')};${port('smtp')}}}`;
  const server = `host=localhost hostip=127.0.0.1 port=${ports}`;
  if (transport !== 'tls') return `${server} proxy_mech=PLAIN${transport === 'starttls' ? ' starttls=yes' : ''}`;
  if (token === undefined) throw new Error('there is no access token to log in with');
  return `${server} ssl=yes proxy_mech=XOAUTH2 pass=${token}`;
}
