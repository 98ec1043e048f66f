import { isIP } from 'node:net';
import type { RelayTarget } from '../../relay-target.ts';

/**
 * What stands in place of the server's greeting, which came in clear. It tells no capabilities and no APOP timestamp: what the
 * server can do is asked for again after TLS (RFC 3207 section 4.2, RFC 9051 section 6.2.1, RFC 2595 section 4).
 */
export function ownGreeting({ protocol, host }: Pick<RelayTarget, 'protocol' | 'host'>): string {
  if (protocol === 'imap') return '* OK ready\r\n';
  if (protocol === 'pop3') return '+OK ready\r\n';
  return `220 ${domain(host)} ESMTP\r\n`;
}

/** RFC 5321 section 4.1.3: addresses stand in brackets. */
function domain(host: string): string {
  const family = isIP(host);
  if (family === 0) return host;
  return family === 6 ? `[IPv6:${host}]` : `[${host}]`;
}
