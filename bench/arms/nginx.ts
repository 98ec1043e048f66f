import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missingPackages } from '../../scripts/lib/mail-servers.ts';
import { freePorts, startDaemon } from '../../test/live/daemon.ts';
import { family } from '../processes.ts';
import { ACCOUNT, type Arm, type ArmOptions, PROTOCOLS, type Protocol, WORKERS } from './arm.ts';

export const PACKAGES = ['nginx', 'libnginx-mod-mail'];

/** The Debian packages that it lacks; undefined where it can run. */
export const missing = (): string | undefined => missingPackages(PACKAGES).join(', ') || undefined;

/**
 * nginx's mail proxy. The app logs in with the account's password, nginx with the same at the server: SMTP by AUTH PLAIN, IMAP by
 * LOGIN with literals, POP3 by USER and PASS; to a server it speaks no TLS and
 * sends no token.
 */
export async function start(options: ArmOptions): Promise<Arm> {
  const [http, smtp, imap, pop3] = (await freePorts(4)) as [number, number, number, number];
  const ports = { smtp, imap, pop3 };
  const file = join(options.directory, 'nginx.conf');
  const log = join(options.directory, 'log');
  writeFileSync(file, configuration(options, http, ports));
  // It tells at this level that it is ready; sessions it tells at the next one only.
  const daemon = await startDaemon(['nginx', '-e', log, '-c', file], log, /start worker process \d+/);
  return { name: 'nginx', ports, pids: () => family(daemon.pid), stop: daemon.stop };
}

function configuration(options: ArmOptions, http: number, ports: Record<Protocol, number>): string {
  return `
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
# the folder may be closed to others
user root;
worker_processes ${WORKERS};
pid ${options.directory}/pid;
error_log ${options.directory}/log notice;
events {
  # two for an idle session; at a login two more, with which the http block below is asked
  worker_connections 20000;
}

# the server that nginx asks about each login, in nginx itself, so that no other process's CPU is in the figure
http {
  access_log off;
  server {
    listen 127.0.0.1:${http};
${PROTOCOLS.map((protocol) => answer(protocol, options.upstream[protocol])).join('')}
  }
}

mail {
  # the server has no XCLIENT
  xclient off;
${PROTOCOLS.map((protocol) => listener(protocol, ports[protocol], http)).join('')}
}
`;
}

/** ngx_mail_auth_http_module, "Protocol". */
function answer(protocol: Protocol, port: number | undefined): string {
  return `
    location = /${protocol} {
      add_header Auth-Status OK;
      add_header Auth-Server 127.0.0.1;
      add_header Auth-Port ${port};
      add_header Auth-User ${ACCOUNT.user};
      add_header Auth-Pass ${ACCOUNT.password};
      return 200;
    }`;
}

function listener(protocol: Protocol, port: number, http: number): string {
  return `
  server {
    listen 127.0.0.1:${port};
    protocol ${protocol};
    ${protocol}_auth plain;
    auth_http 127.0.0.1:${http}/${protocol};
    ${protocol === 'smtp' ? 'proxy_smtp_auth on;' : ''}
  }`;
}
