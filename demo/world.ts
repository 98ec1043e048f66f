import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import path from 'node:path';
import { createLocalJWKSet } from 'jose';
import { stringify } from 'yaml';
import type { Protocol } from '../sidecar-auth/failure.ts';
import { createCertificates } from './certificates.ts';
import { jwtVerifier } from './connectivity-proxy/jwt.ts';
import { type ConnectivityProxy, startConnectivityProxy } from './connectivity-proxy.ts';
import { type DestinationServiceSimulator, startDestinationService } from './destination-service/service.ts';
import { introspection } from './mail-server/introspection.ts';
import { type MailServer, startMailServer } from './mail-server/server.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider } from './openid-provider.ts';
import { PLACES, type Place } from './places.ts';
import { CLIENT_ID, propertiesOf, REDIRECT_URI, type Secret, USER, VIRTUAL_HOST, VIRTUAL_PORTS } from './properties.ts';

/** What the demo needs of a mail server; that of the tests tells more. */
export type DemoMail = Pick<MailServer, 'ports' | 'close'>;

export interface World<Mail extends DemoMail = MailServer> {
  /** Postern's configuration. */
  configFile: string;
  places: Place[];
  user: string;
  password: string;
  /** What an app brings to destinations of these two kinds: good for all of them, and for a code as often as it is presented to the same one. */
  tokens: { refreshToken: string; authorizationCode: string };
  mailServer: Mail;
  provider: OpenIdProvider;
  destinationService: DestinationServiceSimulator;
  connectivityProxy: ConnectivityProxy;
  close(): Promise<void>;
}

/** In place of the demo's own mail server and of listeners on loopback. */
export interface Elsewhere<Mail extends DemoMail> {
  /** Starts a mail server that knows `USER` by the password and by the provider's tokens, and has WELCOME in its mailbox. */
  startMail(directory: string, password: string, provider: OpenIdProvider): Promise<Mail>;
  /** Whether that offers STARTTLS on its plain ports. */
  starttls: boolean;
  /** The IP address on which Postern listens. */
  address: string;
}

/** So that SAP's documented dialogues (`retr 1`, `FETCH 1 BODY[TEXT]`) show something at once. */
export const WELCOME = [
  'From: Postern demo <postern@mail.demo>',
  `To: ${USER}`,
  'Subject: Welcome',
  '',
  'You read this without a login. Postern did it for you.',
  '',
].join('\r\n');
const LOOPBACK = '127.0.0.1';
const TENANT = 'demo';
const AUDIENCE = 'https://mail.demo';
/** Short ones, so that a login fits into a line of a terminal (43 octets are usual). */
const TOKEN_OCTETS = 20;
/** Seconds: a demo that runs for a day must not need new dialogues. */
const CODE_LIFETIME = 24 * 60 * 60;

/**
 * Everything that Postern needs around it, on loopback: a mail server that demands login and checks tokens, the OpenID provider that
 * issues them, a Destination service with the on-premise destinations, a Connectivity Proxy in front of the same mail server, and in `directory`
 * the CA, service bindings, the other destinations and `postern.yaml`. Secrets are new each time.
 */
export function startWorld(directory: string): Promise<World> {
  return startWorldWith(directory, { startMail: startServer, starttls: false, address: LOOPBACK });
}

export async function startWorldWith<Mail extends DemoMail>(
  directory: string,
  { startMail, starttls, address }: Elsewhere<Mail>,
): Promise<World<Mail>> {
  await mkdir(path.join(directory, 'destinations'), { recursive: true });
  const password = randomBytes(12).toString('base64url');
  const clientSecret = randomBytes(12).toString('base64url');
  const provider = await startProvider(clientSecret);
  const mailServer = await startMail(directory, password, provider);
  const wanted = PLACES.map(({ port }) => port);
  const ports = await freePorts(wanted);
  const places = PLACES.map((place, index) => ({ ...place, port: ports[index] ?? place.port }));

  const around = { mailServer, starttls, provider };
  const secrets = { 'mail.password': password, clientSecret };
  const inProperty: Secret = (name) => ({ [name]: secrets[name] });
  const destinations = places.filter(isServed).map((place) => propertiesOf(place, around, inProperty));
  const destinationService = await startDestinationService({
    accounts: { [TENANT]: { subaccount: { destinations } } },
  });
  const connectivityProxy = await startProxy(destinationService, mailServer);

  const secretFile: Secret = (name) => ({ [`${name}File`]: `../${name}` });
  for (const place of places.filter((one) => !isServed(one))) {
    const properties = propertiesOf(place, around, secretFile);
    await write(directory, `destinations/${place.destination}.json`, json(properties), 0o644);
  }
  await write(directory, 'mail.password', password);
  await write(directory, 'clientSecret', clientSecret);
  await write(directory, 'destination-binding.json', json(destinationService.binding));
  await write(directory, 'connectivity-binding.json', json(destinationService.connectivityBinding));
  const text = stringify(configuration(places, connectivityProxy, address));
  const configFile = await write(directory, 'postern.yaml', text, 0o644);

  const consent = { client: CLIENT_ID, user: USER };
  return {
    ...{ configFile, places, user: USER, password, mailServer, provider, destinationService, connectivityProxy },
    tokens: {
      refreshToken: await provider.refreshToken(consent),
      authorizationCode: await provider.authorizationCode(consent),
    },
    close: async () => {
      await Promise.all([mailServer.close(), connectivityProxy.close(), destinationService.close()]);
      await provider.close();
    },
  };
}

/** The on-premise destinations come from the Destination service, the others from files. */
function isServed({ proxyType }: Place): boolean {
  return proxyType === 'OnPremise';
}

function startProvider(secret: string): Promise<OpenIdProvider> {
  return startOpenIdProvider({
    clients: [{ id: CLIENT_ID, secret, audience: AUDIENCE, user: USER, redirectUris: [REDIRECT_URI] }],
    resourceServers: [{ id: 'mail', secret: randomBytes(12).toString('base64url'), audience: AUDIENCE }],
    users: [USER],
    ttl: { code: CODE_LIFETIME },
    rotate: false,
    tokenOctets: TOKEN_OCTETS,
  });
}

async function startServer(directory: string, password: string, provider: OpenIdProvider): Promise<MailServer> {
  const certificates = await createCertificates(path.join(directory, 'certificates'));
  const tls = await certificates.issue('localhost', { addresses: [LOOPBACK, '::1'] });
  const tokens = introspection(provider.introspectionUrl('mail'), SCOPE);
  const mailServer = await startMailServer({ accounts: { [USER]: password }, tls, tokens });
  mailServer.store.inbox(USER).add(WELCOME);
  return mailServer;
}

function startProxy(service: DestinationServiceSimulator, { ports }: DemoMail): Promise<ConnectivityProxy> {
  const plain = Object.entries(ports.plain) as [Protocol, number][];
  const hosts = plain.map(([protocol, port]) => [
    `${VIRTUAL_HOST}:${VIRTUAL_PORTS[protocol]}`,
    { host: LOOPBACK, port },
  ]);
  const verify = jwtVerifier({ keys: createLocalJWKSet(service.jwks), audience: service.connectivityAudience });
  return startConnectivityProxy({ tokens: { verify }, locations: [''], hosts: Object.fromEntries(hosts) });
}

async function write(directory: string, name: string, text: string, mode = 0o600): Promise<string> {
  const file = path.join(directory, name);
  await writeFile(file, text, { mode });
  return file;
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function configuration(places: Place[], { port }: ConnectivityProxy, address: string): object {
  return {
    destinations: { directory: './destinations', services: [{ name: 'demo', binding: './destination-binding.json' }] },
    connectivity: { host: LOOPBACK, port, token: { binding: './connectivity-binding.json' } },
    grants: { directory: './grants' },
    tls: { additionalCAs: ['./certificates/ca.pem'] },
    listeners: places.map((place) => ({
      destination: place.destination,
      address: `${address}:${place.port}`,
      ...(address !== LOOPBACK && { open: true }),
      ...(isServed(place) && { protocol: place.protocol }),
    })),
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
