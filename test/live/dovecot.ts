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
  /** Takes access tokens too, and asks this provider about each of them. */
  oauth?: OAuthOptions;
  /** STARTTLS on the plain ports: on offer (default), or demanded before a login, and then on 127.0.0.2. */
  starttls?: 'offered' | 'required';
}

/** How XOAUTH2 and OAUTHBEARER tokens are checked. */
export interface OAuthOptions {
  /** RFC 7662, with the id and secret of this resource server in it. It must answer tokens for others as inactive. */
  introspectionUrl: string;
  /** Tokens without this scope are refused. */
  scope: string;
}

export interface Dovecot extends Daemon {
  readonly imap: number;
  readonly imaps: number;
  readonly pop3: number;
  readonly pop3s: number;
  /** IP address that it listens on. */
  readonly address: string;
  /** Socket of its SASL service, for Postfix. */
  readonly sasl: string;
  /** Socket on which it takes mail by LMTP. */
  readonly lmtp: string;
  readonly users: string[];
  /** Successful logins in the order of the log. */
  logins(): Login[];
}

/**
 * Dovecot takes a client from its own IP address for a protected one, so it would not demand TLS of it (`ssl = required`);
 * who connects to another loopback address still comes from 127.0.0.1.
 */
const OTHER_LOOPBACK = '127.0.0.2';

/** Users other than root: the mail store belongs to nobody, Postfix' processes reach the sockets as postfix. */
const MAIL_USER = 'nobody';
const MAIL_GROUP = 'nogroup';

/**
 * Starts a Dovecot 2.3 of our own on loopback: IMAP and POP3, each plain (password login allowed, STARTTLS offered)
 * and with implicit TLS. Tokens are checked at every login, for Dovecot caches no answer unless told to (auth_cache_size). Needs root. `dir` is a folder of the caller's (0711 afterwards, for its unprivileged
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
    address: addressOf(options),
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
  if (options.oauth) writeFileSync(join(home, 'oauth2.conf'), tokenCheck(options.oauth), { mode: 0o644 });
}

function addressOf({ starttls }: DovecotOptions): string {
  return starttls === 'required' ? OTHER_LOOPBACK : '127.0.0.1';
}

/** passdb oauth2: the answer must be active, have the scope, and name the user that logs in (username_validation_format). */
function tokenCheck({ introspectionUrl, scope }: OAuthOptions): string {
  return `
introspection_mode = post
introspection_url = ${introspectionUrl}
active_attribute = active
active_value = true
username_attribute = username
scope = ${scope}
`;
}

const OAUTH_MECHANISMS = 'xoauth2 oauthbearer';

function passdbs(home: string, options: DovecotOptions): string {
  const passwords = `
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = ${home}/users
}`;
  const tokens = `
passdb {
  driver = oauth2
  mechanisms = ${OAUTH_MECHANISMS}
  args = ${home}/oauth2.conf
}`;
  return options.oauth ? passwords + tokens : passwords;
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
listen = ${addressOf(options)}
${options.greeting === undefined ? '' : `login_greeting = ${options.greeting}`}
${options.capability === undefined ? '' : `imap_capability = ${options.capability}`}

ssl = ${options.starttls === 'required' ? 'required' : 'yes'}
ssl_cert = <${home}/certificate.pem
ssl_key = <${home}/key.pem

disable_plaintext_auth = no
auth_mechanisms = ${options.mechanisms ?? 'plain login'} ${options.oauth ? OAUTH_MECHANISMS : ''}
# the default is 2 s after each wrong password
auth_failure_delay = 0
${passdbs(home, options)}
# a provider has no list of users that LMTP could look into; Postfix takes mail for known ones only
userdb {
  driver = static
  args = uid=${MAIL_USER} gid=${MAIL_GROUP} home=${home}/mail/%u allow_all_users=yes
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
