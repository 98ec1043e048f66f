import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, freePorts, type Login, openFolder, startDaemon } from './daemon.ts';

export interface DovecotOptions {
  /** PEM, leaf first. */
  certificate: string;
  /** PEM, unencrypted. */
  key: string;
  /** Passwords by user (a mail address in lower case: Dovecot looks users up so). */
  users: Record<string, string>;
  /** `auth_mechanisms`. Default `plain login`. */
  mechanisms?: string;
  /** `login_greeting`, the greeting's text. */
  greeting?: string;
  /** `imap_capability`: in place of the capabilities; with a `+` in front, added to them. */
  capability?: string;
}

export interface Dovecot extends Daemon {
  readonly imap: number;
  readonly imaps: number;
  readonly pop3: number;
  readonly pop3s: number;
  /** Socket of its SASL service, for Postfix. */
  readonly sasl: string;
  /** Socket on which it takes mail by LMTP. */
  readonly lmtp: string;
  readonly users: string[];
  /** Successful logins in the order of the log. */
  logins(): Login[];
}

/** Users other than root: the mail store belongs to nobody, Postfix' processes reach the sockets as postfix. */
const MAIL_USER = 'nobody';
const MAIL_GROUP = 'nogroup';

/**
 * Starts a Dovecot 2.3 of our own on 127.0.0.1: IMAP and POP3, each plain (password login allowed, STARTTLS offered)
 * and with implicit TLS. Needs root. `dir` is a folder of the caller's (0711 afterwards, for its unprivileged
 * processes); its path must be below 60 characters, for a Unix socket's path ends at 107. Throws what startDaemon throws.
 */
export async function startDovecot(dir: string, options: DovecotOptions): Promise<Dovecot> {
  const [imap, imaps, pop3, pop3s] = (await freePorts(4)) as [number, number, number, number];
  const ports = { imap, imaps, pop3, pop3s };
  openFolder(dir);
  const home = join(dir, 'dovecot');
  mkdirSync(join(home, 'mail'), { recursive: true });
  chmodSync(join(home, 'mail'), 0o777);
  writeSecrets(home, options);
  writeFileSync(join(home, 'dovecot.conf'), configuration(home, ports, options));
  const command = ['dovecot', '-F', '-c', join(home, 'dovecot.conf')];
  const daemon = await startDaemon(command, join(home, 'log'), /Dovecot v\S+ .*starting up/);
  return {
    ...daemon,
    ...ports,
    sasl: join(home, 'run/sasl'),
    lmtp: join(home, 'run/mail'),
    users: Object.keys(options.users),
    logins: () => daemon.log().flatMap(login),
  };
}

/** `imap-login: Info: Login: user=<u>, method=PLAIN, rip=…, lip=…, mpid=1, TLS, session=<…>` (login_log_format_elements). */
function login(line: string): Login[] {
  const match = /(imap|pop3)-login: Info: Login: user=<([^>]*)>, method=([^,]*), (.*)/.exec(line);
  if (!match) return [];
  const [, service, user, method, rest] = match as unknown as [string, string, string, string, string];
  return [{ service, user, method, tls: /(^| )TLS,/.test(rest) }];
}

function writeSecrets(home: string, options: DovecotOptions): void {
  writeFileSync(join(home, 'certificate.pem'), options.certificate);
  writeFileSync(join(home, 'key.pem'), options.key, { mode: 0o600 });
  // base64, because a colon in a password would end the field
  const lines = Object.entries(options.users).map(([user, password]) => {
    return `${user}:{PLAIN.b64}${Buffer.from(password).toString('base64')}\n`;
  });
  writeFileSync(join(home, 'users'), lines.join(''), { mode: 0o644 });
}

function configuration(
  home: string,
  ports: { imap: number; imaps: number; pop3: number; pop3s: number },
  options: DovecotOptions,
): string {
  return `
base_dir = ${home}/run
state_dir = ${home}/state
log_path = ${home}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
${options.greeting === undefined ? '' : `login_greeting = ${options.greeting}`}
${options.capability === undefined ? '' : `imap_capability = ${options.capability}`}

ssl = yes
ssl_cert = <${home}/certificate.pem
ssl_key = <${home}/key.pem

disable_plaintext_auth = no
auth_mechanisms = ${options.mechanisms ?? 'plain login'}
# the default is 2 s after each wrong password
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = ${home}/users
}
userdb {
  driver = static
  args = uid=${MAIL_USER} gid=${MAIL_GROUP} home=${home}/mail/%u
}
mail_location = maildir:~/Maildir
# all connections come from one address; the default is 10 a user
mail_max_userip_connections = 1000

service imap-login {
  # 0: one process serves many connections, which is quicker than a process for each
  service_count = 0
  inet_listener imap {
    port = ${ports.imap}
  }
  inet_listener imaps {
    port = ${ports.imaps}
    ssl = yes
  }
}
service pop3-login {
  service_count = 0
  inet_listener pop3 {
    port = ${ports.pop3}
  }
  inet_listener pop3s {
    port = ${ports.pop3s}
    ssl = yes
  }
}
# all connections come from one address: no delay that grows with its wrong passwords (up to 15 s)
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener sasl {
    mode = 0600
    user = postfix
  }
}
service lmtp {
  unix_listener mail {
    mode = 0600
    user = postfix
  }
}
`;
}
