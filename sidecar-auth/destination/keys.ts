import type { Section } from '../config/section.ts';
import type { Transport } from './transport.ts';

/** `mail.<proto>.<what>` under the name of the protocol that the destination uses. */
export function propertyKey(section: Section, transport: Transport, what: string): string | undefined {
  const keys = transport.names.map((name) => `mail.${name}.${what}`).filter((key) => section.has(key));
  if (keys.length > 1) section.mistake(keys[1] ?? '', `must not stand beside ${keys[0]}`);
  return keys[0];
}

/** The same, and where it is not there the name that a mistake is reported under. */
export function namedKey(section: Section, transport: Transport, what: string): string {
  return propertyKey(section, transport, what) ?? `mail.${transport.names[0]}.${what}`;
}

export function missing(section: Section, key: string, allowed: string): undefined {
  if (!section.has(key)) section.mistake(key, `is missing; allowed are ${allowed}`);
}
