import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { readDocument, readSecret, readUser } from '../config/document.ts';
import type { Mistake } from '../config/mistakes.ts';
import type { Section } from '../config/section.ts';
import type { Protocol } from '../failure.ts';
import { nearest } from './nearest.ts';
import { MAIL_KEYS, TRANSPORT_NAMES, type Transport, transportOf } from './transport.ts';

export interface Destination {
  name: string;
  /** Absolute path of the file that it comes from. */
  file: string;
  onPremise: boolean;
  protocol: Protocol;
  /** Implicit TLS. */
  tls: boolean;
  /** ASCII; an IP literal has no brackets. */
  host: string;
  port: number;
  login?: { user: string; password: string };
  /** CloudConnectorLocationId. */
  location?: string;
  /** `mail.smtp.localhost`: the name for EHLO (RFC 5321 4.1.1.1). */
  hello?: string;
}

/** Reads one destination file; `files` gets the other files that were read for it. Without `destination` there are mistakes. */
export function readDestination(
  file: string,
  mistakes: Mistake[],
  files: string[],
): { name?: string; destination?: Destination } {
  const before = mistakes.length;
  const section = readDocument(file, mistakes);
  if (!section) return {};
  const name = readName(section);
  const destination = readProperties(section, name, files);
  reportUnknownMailKeys(section);
  return { ...(name && { name }), ...(destination && mistakes.length === before && { destination }) };
}

function readProperties(section: Section, name: string | undefined, files: string[]): Destination | undefined {
  section.choice('Type', ['MAIL'] as const) ?? missing(section, 'Type', 'MAIL');
  const proxy = section.choice('ProxyType', PROXY_TYPES) ?? missing(section, 'ProxyType', PROXY_TYPES.join(' or '));
  const protocol = section.choice('mail.transport.protocol', TRANSPORT_NAMES);
  const transport = protocol && transportOf(protocol);
  if (!transport) return missing(section, 'mail.transport.protocol', TRANSPORT_NAMES.join(', '));
  const onPremise = proxy === 'OnPremise';
  const host = readHost(section, transport);
  checkStartTls(section, transport, onPremise);
  const login = readLogin(section, transport, files);
  const location = readLocation(section);
  const hello = readHello(section);
  const portKey = propertyKey(section, transport, 'port');
  const port = portKey === undefined ? transport.port : section.integer(portKey, 1, 65535);
  if (name === undefined || host === undefined || port === undefined) return undefined;
  return {
    name,
    file: section.file,
    onPremise,
    protocol: transport.protocol,
    tls: transport.tls,
    host,
    port,
    ...(login && { login }),
    ...(onPremise && location !== undefined && { location }),
    ...(hello !== undefined && { hello }),
  };
}

const PROXY_TYPES = ['Internet', 'OnPremise'] as const;

function missing(section: Section, key: string, allowed: string): undefined {
  if (!section.has(key)) section.mistake(key, `is missing; allowed are ${allowed}`);
}

/** The contract's form of a destination's name. */
function readName(section: Section): string | undefined {
  const name = section.required('Name');
  if (name === undefined || /^[\x20-\x7e]{1,128}$/.test(name)) return name;
  return section.mistake('Name', 'must have 1 to 128 printable ASCII characters');
}

/** `mail.<proto>.<what>` under the name of the protocol that the file uses. */
function propertyKey(section: Section, transport: Transport, what: string): string | undefined {
  const keys = transport.names.map((name) => `mail.${name}.${what}`).filter((key) => section.has(key));
  if (keys.length > 1) section.mistake(keys[1] ?? '', `must not stand beside ${keys[0]}`);
  return keys[0];
}

function readHost(section: Section, transport: Transport): string | undefined {
  const key = propertyKey(section, transport, 'host') ?? `mail.${transport.names[0]}.host`;
  const text = section.required(key);
  if (text === undefined) return undefined;
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) && !bare.includes('%')) return bare;
  // A trailing dot is right for DNS, but not in SNI (RFC 6066 section 3).
  const name = (/^[\x21-\x7e]+$/.test(text) ? text : domainToASCII(text)).replace(/\.$/, '');
  if (name.length <= 253 && /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(name)) return name;
  return section.mistake(key, 'must be a host name or an IP address');
}

function checkStartTls(section: Section, transport: Transport, onPremise: boolean): void {
  const key = propertyKey(section, transport, 'starttls.enable') ?? `mail.${transport.names[0]}.starttls.enable`;
  const enabled = section.has(key) ? section.flag(key) : undefined;
  if (onPremise && transport.tls) {
    section.mistake(
      'mail.transport.protocol',
      "must be smtp, pop3, imap or imap4 with OnPremise: TLS is the Cloud Connector's part",
    );
  }
  if (transport.tls || (section.has(key) && enabled === undefined) || enabled === false) return;
  if (onPremise && enabled === undefined) return;
  section.mistake(
    key,
    'STARTTLS is not supported yet: use the protocol with TLS (smtps, pop3s, imaps), or set it to false if plain text is meant',
  );
}

const AUTHENTICATIONS = ['BasicAuthentication', 'NoAuthentication'] as const;

function readLogin(section: Section, transport: Transport, files: string[]): Destination['login'] {
  const authKey = propertyKey(section, transport, 'auth');
  const auth = authKey === undefined ? undefined : section.flag(authKey);
  const given = section.has('Authentication') ? section.text('Authentication') : undefined;
  if (given?.startsWith('OAuth2'))
    return section.mistake('Authentication', `${given} is not supported yet; ${ALLOWED}`);
  const kind = section.choice('Authentication', AUTHENTICATIONS);
  if (auth === false) return undefined;
  if (kind === undefined) return missing(section, 'Authentication', AUTHENTICATIONS.join(', '));
  if (kind === 'NoAuthentication') {
    return auth ? section.mistake(authKey ?? '', 'must not be true with NoAuthentication') : undefined;
  }
  return readBasic(section, files);
}

const ALLOWED = `allowed are ${AUTHENTICATIONS.join(' and ')}`;

function readBasic(section: Section, files: string[]): Destination['login'] {
  const user = readUser(section, 'mail.user');
  if (!section.has('mail.password') && !section.has('mail.passwordFile')) {
    return section.mistake('mail.password', 'or mail.passwordFile is missing');
  }
  const password = readSecret(section, 'mail.password', files);
  return user === undefined || password === undefined ? undefined : { user, password };
}

/** The proxy's handshake has one octet for the length of its base64 form: 255 / 4 * 3. */
const LOCATION_LIMIT = 189;

function readLocation(section: Section): string | undefined {
  const location = section.text('CloudConnectorLocationId');
  if (location === undefined || Buffer.byteLength(location) <= LOCATION_LIMIT) return location;
  return section.mistake('CloudConnectorLocationId', `must have at most ${LOCATION_LIMIT} octets`);
}

/** A domain or an address literal (RFC 5321 4.1.2 and 4.1.3); 255 octets (4.5.3.1.2). */
function readHello(section: Section): string | undefined {
  const key = ['mail.smtp.localhost', 'mail.smtps.localhost'].find((name) => section.has(name));
  const text = key === undefined ? undefined : section.text(key);
  if (key === undefined || text === undefined) return undefined;
  if (text.length <= 255 && /^(\[[0-9a-fA-F:.]+\]|\[IPv6:[0-9a-fA-F:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*)$/i.test(text))
    return text;
  return section.mistake(key, 'must be a domain or an address in brackets');
}

/**
 * A mistyped `mail.` key would silently weaken a destination (mail.smtp.starttls.require), so it is a mistake. Other unknown
 * keys are tolerated: the Destination service's objects carry descriptions and properties for other programs.
 */
function reportUnknownMailKeys(section: Section): void {
  for (const key of section.keys) {
    if (!/^mail\./i.test(key) || MAIL_KEYS.includes(key)) continue;
    const near = nearest(key, MAIL_KEYS);
    section.mistake(key, near ? `is not known; is ${near} meant?` : 'is not known');
  }
}
