import type { Section } from '../config/section.ts';
import { namedKey } from './keys.ts';
import type { Transport } from './transport.ts';

/**
 * Whether STARTTLS protects the connection. To the Internet it does unless the destination says `starttls.enable=false`: Jakarta Mail
 * would log in without TLS where a server offers none, and whoever strips the offer would get the password. So it is never optional here.
 */
export function readStartTls(section: Section, transport: Transport, onPremise: boolean): boolean {
  const enableKey = namedKey(section, transport, 'starttls.enable');
  const requiredKey = namedKey(section, transport, 'starttls.required');
  const enable = section.flag(enableKey);
  const required = section.flag(requiredKey);
  if (required && enable === false) section.mistake(requiredKey, `must not be true where ${enableKey} is false`);
  // With implicit TLS both have nothing to say, as in Jakarta Mail: the connection is protected from the first byte.
  if (transport.tls) return false;
  return enable ?? (required === true || !onPremise);
}

/** `mail.<proto>.ssl.trust`: only "*", which turns verification off. */
export function readVerify(section: Section, transport: Transport): boolean {
  const key = namedKey(section, transport, 'ssl.trust');
  const trust = section.text(key);
  if (trust === undefined) return true;
  if (trust !== '*') {
    section.mistake(
      key,
      'must be "*" (no verification at all); for a certificate of your own CA use tls.additionalCAs',
    );
  }
  return false;
}

/** The mechanisms that Postern speaks; Jakarta Mail's list may name others, which are then not used. */
const MECHANISMS = ['PLAIN', 'LOGIN', 'XOAUTH2', 'OAUTHBEARER'] as const;

/** `mail.<proto>.auth.mechanisms`: names separated by spaces (or commas). */
export function readMechanisms(section: Section, transport: Transport, oauth: boolean): string[] | undefined {
  const key = namedKey(section, transport, 'auth.mechanisms');
  const given = section
    .text(key)
    ?.toUpperCase()
    .split(/[\s,]+/);
  const fitting = MECHANISMS.filter((name) => name.includes('OAUTH') === oauth);
  const usable = given?.filter((name) => fitting.some((one) => one === name));
  if (usable?.length === 0) return section.mistake(key, `must name ${fitting.join(' or ')}`);
  return usable;
}

/** The longest wait that a filter allows (docs/contract.md, `deadline`), in milliseconds. */
const LONGEST_MS = 600_000;

/** `mail.<proto>.connectiontimeout` and `.timeout`, milliseconds. Jakarta Mail reads 0 and less as "for ever": the default then. */
export function readTimeout(section: Section, transport: Transport, what: string): number | undefined {
  const key = namedKey(section, transport, what);
  if (section.isText(key) && /^(0|-\d+)$/.test(section.text(key) ?? '')) return undefined;
  return section.integer(key, 1, LONGEST_MS);
}
