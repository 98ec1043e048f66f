import { readDocument } from '../config/document.ts';
import { requiredHost } from '../config/host.ts';
import { ConfigMistakes, type Mistake } from '../config/mistakes.ts';
import { colonHint, Section, shownKey } from '../config/section.ts';
import type { Protocol } from '../failure.ts';
import { missing, namedKey, propertyKey } from './keys.ts';
import { type Login, readLogin } from './login.ts';
import { nearest } from './nearest.ts';
import { readMechanisms, readStartTls, readTimeout, readVerify } from './security.ts';
import {
  guessTransport,
  MAIL_KEYS,
  MAIL_KEYS_SHORT,
  TRANSPORT_NAMES,
  type Transport,
  transportOf,
} from './transport.ts';

export interface Destination {
  name: string;
  /** Absolute path of the file that it comes from, or the Destination service's URL without its query. */
  file: string;
  onPremise: boolean;
  protocol: Protocol;
  /** Implicit TLS. */
  tls: boolean;
  /** STARTTLS, without which no credential goes out. */
  starttls: boolean;
  /** Whether the server's certificate is verified: false only for `mail.<proto>.ssl.trust` `*`. */
  verify: boolean;
  /** ASCII; an IP literal has no brackets. */
  host: string;
  port: number;
  login: Login;
  /** `mail.<proto>.auth.mechanisms`: the only ones that may be used, in upper case. */
  mechanisms?: string[];
  /** `mail.<proto>.connectiontimeout`, milliseconds. */
  connectTimeoutMs?: number;
  /** `mail.<proto>.timeout`, milliseconds for an answer of the server. */
  timeoutMs?: number;
  /** `mail.<proto>.capabilities` `asked`: on every connection, for servers of one name that differ. */
  capabilities?: 'asked';
  /** `mail.<proto>.preconnect`: connections to the server are kept ready, by Envoy or the relay. */
  preconnect?: boolean;
  /** CloudConnectorLocationId. */
  location?: string;
  /** `mail.smtp.localhost`: the name for EHLO (RFC 5321 4.1.1.1). */
  hello?: string;
}

/** What is known of a destination for comparing it with FILE, also where it has mistakes. */
export type DestinationDraft = { file: string } & Partial<Pick<Destination, 'name' | 'protocol' | 'onPremise'>>;

/** Reads one destination file; `files` gets the other files that were read for it. Without `destination` there are mistakes. */
export function readDestination(
  file: string,
  mistakes: Mistake[],
  files: string[],
): { draft: DestinationDraft; destination?: Destination } {
  const before = mistakes.length;
  const section = readDocument(file, mistakes);
  if (!section) return { draft: { file } };
  const name = readName(section);
  const destination = readProperties(section, name, files);
  reportUnknownMailKeys(section, true);
  const protocol = transportOf(section.raw('mail.transport.protocol'))?.protocol;
  const onPremise = section.raw('ProxyType') === 'OnPremise';
  const draft = { file, onPremise, ...(name !== undefined && { name }), ...(protocol && { protocol }) };
  return { draft, ...(destination && mistakes.length === before && { destination }) };
}

/**
 * A destination of the Destination service. Files of this machine are not read for it, whatever its properties say.
 * @param where the service's URL without its query
 * @throws ConfigMistakes with all of its mistakes
 */
export function destinationFromProperties(properties: Record<string, unknown>, where: string): Destination {
  const mistakes: Mistake[] = [];
  const scalars = Object.entries(properties).filter(([, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value),
  );
  const section = new Section(where, '', new Map(scalars.map(([key, value]) => [key, String(value)])), mistakes);
  const destination = readProperties(section, readName(section), undefined);
  reportUnknownMailKeys(section, false);
  if (!destination || mistakes.length > 0) throw new ConfigMistakes(mistakes);
  return destination;
}

function readProperties(
  section: Section,
  name: string | undefined,
  files: string[] | undefined,
): Destination | undefined {
  section.choice('Type', ['MAIL'] as const) ?? missing(section, 'Type', 'MAIL');
  const proxy = section.choice('ProxyType', PROXY_TYPES) ?? missing(section, 'ProxyType', PROXY_TYPES.join(' or '));
  const protocol = section.choice('mail.transport.protocol', TRANSPORT_NAMES);
  missing(section, 'mail.transport.protocol', TRANSPORT_NAMES.join(', '));
  const transport = protocol ? transportOf(protocol) : guessTransport(section.keys);
  const onPremise = proxy === 'OnPremise';
  const login = readLogin(section, transport, files);
  const location = readLocation(section);
  const hello = readHello(section);
  if (!transport) return undefined;
  const server = readServer(section, transport, onPremise);
  const optional = {
    ...readOptional(section, transport, login),
    ...(onPremise && location !== undefined && { location }),
    ...(hello !== undefined && { hello }),
  };
  if (protocol === undefined) return undefined;
  if (name === undefined || server === undefined || login === undefined) return undefined;
  return { name, file: section.file, onPremise, ...server, login, ...optional };
}

type Server = Pick<Destination, 'protocol' | 'tls' | 'starttls' | 'verify' | 'host' | 'port'>;

function readServer(section: Section, transport: Transport, onPremise: boolean): Server | undefined {
  const host = requiredHost(section, namedKey(section, transport, 'host'));
  const starttls = readStartTls(section, transport, onPremise);
  const verify = readVerify(section, transport);
  const portKey = propertyKey(section, transport, 'port');
  const port = portKey === undefined ? transport.port : section.integer(portKey, 1, 65535);
  if (host === undefined || port === undefined) return undefined;
  return { protocol: transport.protocol, tls: transport.tls, starttls, verify, host, port };
}

type Optional = Pick<Destination, 'mechanisms' | 'connectTimeoutMs' | 'timeoutMs' | 'capabilities' | 'preconnect'>;

function readOptional(section: Section, transport: Transport, login: Login | undefined): Optional {
  const oauth = login ? login.kind === 'oauth' : /^oauth/i.test(section.raw('Authentication'));
  const mechanisms = login?.kind === 'none' ? undefined : readMechanisms(section, transport, oauth);
  const connectTimeoutMs = readTimeout(section, transport, 'connectiontimeout');
  const timeoutMs = readTimeout(section, transport, 'timeout');
  return {
    ...(mechanisms && { mechanisms }),
    ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(readCapabilities(section, transport) === 'asked' && { capabilities: 'asked' }),
    ...(readPreconnect(section, transport) && { preconnect: true }),
  };
}

function readCapabilities(section: Section, transport: Transport): 'remembered' | 'asked' | undefined {
  const key = propertyKey(section, transport, 'capabilities');
  return key === undefined ? undefined : section.choice(key, ['remembered', 'asked'] as const);
}

function readPreconnect(section: Section, transport: Transport): boolean {
  const key = propertyKey(section, transport, 'preconnect');
  return key !== undefined && section.choice(key, ['true', 'false'] as const) === 'true';
}

const PROXY_TYPES = ['Internet', 'OnPremise'] as const;

const NAME = '1 to 128 printable ASCII characters';

/** The contract's form of a destination's name. */
function readName(section: Section): string | undefined {
  const name = section.required('Name', NAME);
  if (name === undefined || /^[\x20-\x7e]{1,128}$/.test(name)) return name;
  return section.mistake('Name', `must be ${NAME}`);
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
 * @param all whether a `mail.` key that resembles none is one, too: destinations of the service may be shared with other mail programs
 */
function reportUnknownMailKeys(section: Section, all: boolean): void {
  for (const key of section.keys) {
    if (!/^mail\./i.test(key) || MAIL_KEYS.includes(key)) continue;
    const shown = shownKey(key);
    const near = nearest(shown, MAIL_KEYS);
    const unknown = `is not known${colonHint(key)}`;
    if (near) section.mistake(key, near === shown ? unknown : `${unknown}; is ${near} meant?`);
    else if (all) section.mistake(key, `${unknown}; allowed are ${MAIL_KEYS_SHORT}`);
  }
}
