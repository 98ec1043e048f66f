import type { PeerCertificate } from 'node:tls';
import { TLS_SESSION_MS, TLS_SESSIONS_LIMIT } from './limits.ts';

/** What a server proved in a whole handshake. Resumed ones prove nothing new, however many follow, and so end when it ends. */
export interface Proof {
  /** What its name is checked against: a resumed handshake brings no certificate. */
  certificate: Pick<PeerCertificate, 'subject' | 'subjectaltname'>;
  /** Milliseconds since 1970. */
  until: number;
}

export interface TlsSession extends Proof {
  session: Buffer;
}

/** Of the certificate of a whole handshake that has just ended. */
export function proofOf({ subject, subjectaltname, valid_to }: PeerCertificate): Proof {
  const expires = Date.parse(valid_to) || 0;
  return {
    certificate: { subject, ...(subjectaltname !== undefined && { subjectaltname }) },
    until: Math.min(Date.now() + TLS_SESSION_MS, expires),
  };
}

/** TLS sessions to resume (RFC 8446 section 2.2), the newest of each key; the key used longest ago goes first. */
export class TlsSessions {
  readonly #kept = new Map<string, TlsSession>();

  get(key: string): TlsSession | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    this.#kept.delete(key);
    if (Date.now() >= kept.until) return undefined;
    this.#kept.set(key, kept);
    return kept;
  }

  keep(key: string, session: TlsSession): void {
    this.#kept.delete(key);
    this.#kept.set(key, session);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > TLS_SESSIONS_LIMIT && oldest !== undefined) this.#kept.delete(oldest);
  }

  drop(key: string): void {
    this.#kept.delete(key);
  }
}
