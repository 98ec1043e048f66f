import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Section } from './section.ts';

export const HOST = 'a host name or an IP address';

/** A host in the form that the wire wants: ASCII, an IP literal without brackets. A zone (`%eth0`) is refused. */
export function requiredHost(section: Section, key: string): string | undefined {
  const text = section.required(key, HOST);
  if (text === undefined) return undefined;
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) && !bare.includes('%')) return bare;
  // A trailing dot is right for DNS, but not in SNI (RFC 6066 section 3).
  const name = (/^[\x21-\x7e]+$/.test(text) ? text : domainToASCII(text)).replace(/\.$/, '');
  if (name.length <= 253 && /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(name)) return name;
  return section.mistake(key, `must be ${HOST}`);
}
