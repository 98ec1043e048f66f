import { statSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { dirname } from 'node:path';
import type { Section } from './section.ts';

/** `host` is an IP literal without brackets, in its shortest form. */
export interface HostPort {
  host: string;
  port: number;
}

/** `mode`: the permission bits of a Unix socket. */
export type Address = HostPort | { path: string; mode: number };

/** sun_path of Linux has 108 octets, the last one is NUL (unix(7)). */
const PATH_LIMIT = 107;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine reaches it. The wildcard addresses are not: they are every address. */
export function isLoopback(host: string): boolean {
  return loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}

/** `ip:port`, `[ip6]:port` or a Unix socket's path: the form in which an address is compared, hashed and shown. */
export function addressText(address: Address): string {
  return 'path' in address ? address.path : hostPort(address.host, address.port);
}

export function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Keys `address` and `mode` of a listener. */
export function readAddress(section: Section): Address | undefined {
  const text = section.required('address', ADDRESS);
  const mode = readMode(section);
  if (text === undefined) return undefined;
  if (text.includes('/')) return readPath(section, text, mode ?? 0o600);
  if (section.has('mode')) section.mistake('mode', 'is for Unix sockets only');
  return readHostPort(text, ADDRESS, (what) => section.mistake('address', what));
}

const ADDRESS = 'IP:PORT, [IPv6]:PORT or the path of a Unix socket with a / in it (127.0.0.1 in place of localhost)';

/** @param allowed what the whole may be, for the mistake that tells it */
export function readHostPort(
  text: string,
  allowed: string,
  mistake: (text: string) => undefined,
): HostPort | undefined {
  const parts = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2] ?? '';
  const port = Number(parts?.[3] ?? 0);
  if (!isIP(host)) return mistake(`must be ${allowed}`);
  if (host.includes('%')) return mistake('must not have a zone (%)');
  if (port < 1 || port > 65535) return mistake('its port must be a number from 1 to 65535');
  const ipv4 = mapped(shortest(host));
  if (ipv4) return mistake(`must not be an IPv4 address in an IPv6 one: write ${ipv4}:${port}`);
  return { host: shortest(host), port };
}

/** `::1` and `0:0:0:0:0:0:0:1` are one address (RFC 5952). */
function shortest(host: string): string {
  return isIP(host) === 6 ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}

/** The IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2): Envoy would listen on IPv4 and know it by another name. */
function mapped(host: string): string | undefined {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host) ?? [];
  if (high === undefined || low === undefined) return undefined;
  return [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.');
}

/** The owner is Postern's user, whose app it is as a rule; and Envoy takes 0 as "not set". */
function readMode(section: Section): number | undefined {
  const text = section.text('mode');
  if (text === undefined) return undefined;
  return /^0?[67][0-7]{2}$/.test(text)
    ? Number.parseInt(text, 8)
    : section.mistake('mode', 'must be three octal digits of which the first is 6 or 7, for example "0660"');
}

function readPath(section: Section, text: string, mode: number): Address | undefined {
  const path = section.absolute(text);
  if (Buffer.byteLength(path) > PATH_LIMIT) {
    return section.mistake('address', `a Unix socket's path has at most ${PATH_LIMIT} octets, ${path} has more`);
  }
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    return section.mistake('address', `the folder ${dirname(path)} must exist`);
  }
  return { path, mode };
}
