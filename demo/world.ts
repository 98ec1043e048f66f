import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import path from 'node:path';
import { stringify } from 'yaml';
import type { Protocol } from '../sidecar-auth/failure.ts';
import { createCertificates } from './certificates.ts';
import { type ConnectivityProxy, startConnectivityProxy } from './connectivity-proxy.ts';
import { type MailServer, startMailServer } from './mail-server/server.ts';

type ProxyType = 'Internet' | 'OnPremise';

/** A destination of the demo, and the local address where Postern offers it. */
export interface Place {
  destination: string;
  proxyType: ProxyType;
  /** In SAP's words: `smtp`, `smtps`, `imap4`, ... */
  transport: string;
  protocol: Protocol;
  tls: boolean;
  /** The listener's port on 127.0.0.1. */
  port: number;
}

export interface World {
  /** Postern's configuration. */
  configFile: string;
  places: Place[];
  user: string;
  password: string;
  mailServer: MailServer;
  connectivityProxy: ConnectivityProxy;
  close(): Promise<void>;
}

const USER = 'demo@mail.demo';
/** So that SAP's documented dialogues (`retr 1`, `FETCH 1 BODY[TEXT]`) show something at once. */
const WELCOME = [
  'From: Postern demo <postern@mail.demo>',
  `To: ${USER}`,
  'Subject: Welcome',
  '',
  'You read this without a login. Postern did it for you.',
  '',
].join('\r\n');
const VIRTUAL_HOST = 'mail.onprem.internal';
const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, pop3: 110, imap: 143 };
const LOOPBACK = '127.0.0.1';

/** The port in the middle says the protocol; 1 in front is the Internet, 2 on-premise. */
const PLACES: Place[] = [
  place('internet-smtp', 'Internet', 'smtp', 1587),
  place('internet-smtps', 'Internet', 'smtps', 1465),
  place('internet-imap', 'Internet', 'imap4', 1143),
  place('internet-imaps', 'Internet', 'imap4s', 1993),
  place('internet-pop3', 'Internet', 'pop3', 1110),
  place('internet-pop3s', 'Internet', 'pop3s', 1995),
  place('onpremise-smtp', 'OnPremise', 'smtp', 2587),
  place('onpremise-imap', 'OnPremise', 'imap4', 2143),
  place('onpremise-pop3', 'OnPremise', 'pop3', 2110),
];

function place(destination: string, proxyType: ProxyType, transport: string, port: number): Place {
  const protocol = transport.replace(/4?s?$/, '') as Protocol;
  return { destination, proxyType, transport, protocol, tls: transport.endsWith('s'), port };
}

/**
 * Everything that Postern needs around it, on loopback: a mail server that demands login, a Connectivity Proxy in front of the same
 * server, and in `directory` the CA, a token, nine destinations and `postern.yaml`. The password is a new one each time.
 */
export async function startWorld(directory: string): Promise<World> {
  await mkdir(path.join(directory, 'destinations'), { recursive: true });
  const password = randomBytes(12).toString('base64url');
  const token = randomBytes(24).toString('base64url');
  const certificates = await createCertificates(path.join(directory, 'certificates'));
  const tls = await certificates.issue('localhost', { addresses: [LOOPBACK, '::1'] });
  const mailServer = await startMailServer({ accounts: { [USER]: password }, tls });
  mailServer.store.inbox(USER).add(WELCOME);
  const connectivityProxy = await startConnectivityProxy({
    tokens: { accept: (jwt) => jwt === token },
    locations: [''],
    hosts: virtualHosts(mailServer),
  });
  const ports = await freePorts(PLACES.map(({ port }) => port));
  const places = PLACES.map((wanted, index) => ({ ...wanted, port: ports[index] ?? wanted.port }));

  const secret = { mode: 0o600 };
  await writeFile(path.join(directory, 'mail.password'), password, secret);
  await writeFile(path.join(directory, 'connectivity.token'), token, secret);
  for (const { destination, ...rest } of places) {
    const file = path.join(directory, 'destinations', `${destination}.json`);
    const properties = destinationProperties({ destination, ...rest }, mailServer);
    await writeFile(file, `${JSON.stringify(properties, undefined, 2)}\n`);
  }
  const configFile = path.join(directory, 'postern.yaml');
  await writeFile(configFile, stringify(configuration(places, connectivityProxy.port)));

  const close = async () => void (await Promise.all([mailServer.close(), connectivityProxy.close()]));
  return { configFile, places, user: USER, password, mailServer, connectivityProxy, close };
}

function virtualHosts(mailServer: MailServer): Record<string, { host: string; port: number }> {
  const plain = Object.entries(mailServer.ports.plain) as [Protocol, number][];
  return Object.fromEntries(
    plain.map(([protocol, port]) => [`${VIRTUAL_HOST}:${VIRTUAL_PORTS[protocol]}`, { host: LOOPBACK, port }]),
  );
}

/** In the Destination service's own property names. */
function destinationProperties(place: Place, mailServer: MailServer): Record<string, string> {
  const { destination, proxyType, transport, protocol, tls } = place;
  const onPremise = proxyType === 'OnPremise';
  const port = onPremise ? VIRTUAL_PORTS[protocol] : mailServer.ports[tls ? 'tls' : 'plain'][protocol];
  return {
    Name: destination,
    Type: 'MAIL',
    ProxyType: proxyType,
    Authentication: 'BasicAuthentication',
    'mail.user': USER,
    'mail.passwordFile': '../mail.password',
    'mail.transport.protocol': transport,
    [`mail.${transport}.host`]: onPremise ? VIRTUAL_HOST : 'localhost',
    [`mail.${transport}.port`]: `${port}`,
    ...(!onPremise && !tls && { [`mail.${transport}.starttls.enable`]: 'false' }),
  };
}

function configuration(places: Place[], proxyPort: number): object {
  return {
    destinations: { directory: './destinations' },
    connectivity: { host: LOOPBACK, port: proxyPort, token: { file: './connectivity.token' } },
    tls: { additionalCAs: ['./certificates/ca.pem'] },
    listeners: places.map(({ destination, port }) => ({ destination, address: `${LOOPBACK}:${port}` })),
  };
}

/** The ports that are wanted, and any free one in place of each that somebody has. */
async function freePorts(wanted: number[]): Promise<number[]> {
  const held = await Promise.all(wanted.map(hold));
  const ports = held.map((server) => (server.address() as AddressInfo).port);
  // All are held until all are known, so that no free port is found twice.
  await Promise.all(held.map((server) => once(server.close(), 'close')));
  return ports;
}

async function hold(port: number): Promise<Server> {
  const server = createServer().listen(port, LOOPBACK);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if (port !== 0 && (error as NodeJS.ErrnoException).code === 'EADDRINUSE') return hold(0);
    throw error;
  }
}
