import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet } from 'jose';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { jwtVerifier } from '../../demo/connectivity-proxy/jwt.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { type DestinationServiceSimulator, startDestinationService } from '../../demo/destination-service/service.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider } from '../../demo/openid-provider.ts';
import { askAdmin } from '../../envoy/admin.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { freePorts, openFolder } from '../live/daemon.ts';
import { type Dovecot, startDovecot } from '../live/dovecot.ts';
import { type Postfix, startPostfix } from '../live/postfix.ts';
import { bearerOnly, closing, type Pass, startBetween } from './between.ts';
import {
  clientOf,
  LOCATION,
  listenerOf,
  MAIL_AUDIENCE,
  OTHER_TENANT,
  type Place,
  placeOf,
  propertiesOf,
  TENANT,
  tenantOf,
  VIRTUAL_BEARER_PORTS,
  VIRTUAL_HOST,
  VIRTUAL_PORTS,
  VIRTUAL_PROVIDER,
  VIRTUAL_TLS_PORTS,
} from './place.ts';
import { baseOf, type Row, usesTls } from './rows.ts';

/** Everything around Postern, each part with its own log, and Postern itself with a listener per row and twin. */
export interface Stage {
  dovecot: Dovecot;
  postfix: Postfix;
  provider: OpenIdProvider;
  service: DestinationServiceSimulator;
  proxy: ConnectivityProxy;
  postern: Running;
  of(row: Row): { place: Place; twin: Place };
  /** Connections that Envoy has opened so far, by cluster. */
  connections(): Promise<Record<string, number>>;
  close(): Promise<void>;
}

const HOST = 'localhost';
const LOOPBACK = '127.0.0.1';
/** Octets of tokens and codes: with them no login fits into a line of 512 octets. */
const TOKEN_OCTETS = 1500;

export interface StageOptions {
  /** Refused commands after which Postfix closes. */
  errorLimit?: number;
  /** Whether what the Cloud Connector leads to in plain text closes after a refused login. Dovecot has no setting for that. */
  closing?: boolean;
  /** Envoy's worker threads; two by default. */
  workers?: number;
}

/** Needs root, for Dovecot and Postfix. Throws an Error where a part does not start; nothing runs then. */
export async function startStage(rows: Row[], options: StageOptions = {}): Promise<Stage> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    return { ...(await start(rows, options, cleanups)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  rows: Row[],
  options: StageOptions,
  cleanups: (() => Promise<unknown>)[],
): Promise<Omit<Stage, 'close'>> {
  const dir = await mkdtemp(join(tmpdir(), 'matrix-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  openFolder(dir);
  const ports = await freePorts(2 * rows.length);
  const pairs = new Map(
    rows.map((row, index) => [
      row.name,
      {
        place: placeOf(row, false, ports[2 * index] as number),
        twin: placeOf(row, true, ports[2 * index + 1] as number),
      },
    ]),
  );
  const places = [...pairs.values()].flatMap(({ place, twin }) => [place, twin]);

  const provider = await startOpenIdProvider({
    clients: places.flatMap((place) => clientOf(place) ?? []),
    resourceServers: [{ id: 'mail', secret: 'mail-secret', audience: MAIL_AUDIENCE }],
    users: places.map(({ user }) => user),
    tokenOctets: TOKEN_OCTETS,
  });
  cleanups.push(() => provider.close());

  const certificates = await createCertificates(dir);
  const { cert, key } = await certificates.issue(HOST, { names: [HOST, VIRTUAL_HOST] });
  const pem = { certificate: cert, key };
  const users = Object.fromEntries(places.map(({ user, password }) => [user, password]));
  const oauth = { introspectionUrl: provider.introspectionUrl('mail'), scope: SCOPE };
  const dovecot = await startDovecot(dir, { ...pem, users, oauth });
  cleanups.push(() => dovecot.stop());
  const { errorLimit } = options;
  const postfix = await startPostfix(dir, { ...pem, dovecot, ...(errorLimit && { errorLimit }) });
  cleanups.push(() => postfix.stop());

  const mailPort = ({ protocol }: Row) => portOf(baseOf(protocol), usesTls(protocol), dovecot, postfix);
  const around = { mailHost: HOST, mailPort, tokenEndpoint: provider.tokenEndpoint };
  const served = (tenant: string) =>
    places
      .filter((place) => place.row.variant !== 'file' && tenantOf(place) === tenant)
      .map((place) => propertiesOf(place, around));
  const { host, port } = VIRTUAL_PROVIDER;
  const service = await startDestinationService({
    accounts: {
      [TENANT]: { subaccount: { destinations: served(TENANT) } },
      [OTHER_TENANT]: { subaccount: { destinations: served(OTHER_TENANT) } },
    },
    onPremise: { [`${host}:${port}`]: { host: LOOPBACK, port: Number(new URL(provider.issuer).port) } },
  });
  cleanups.push(() => service.close());

  const servers = { dovecot, postfix };
  const plain = options.closing ? await between(servers, closing, cleanups) : plainPorts(servers);
  const hosts = {
    ...virtualHosts(VIRTUAL_PORTS, plain),
    ...virtualHosts(VIRTUAL_TLS_PORTS, { smtp: postfix.smtps, pop3: dovecot.pop3s, imap: dovecot.imaps }),
    ...virtualHosts(VIRTUAL_BEARER_PORTS, await between(servers, bearerOnly, cleanups)),
  };
  const verify = jwtVerifier({ keys: createLocalJWKSet(service.jwks), audience: service.connectivityAudience });
  const proxy = await startConnectivityProxy({
    tokens: { verify },
    locations: [],
    hosts: {},
    tenants: {
      [TENANT]: { locations: [LOCATION], hosts },
      [OTHER_TENANT]: { locations: [LOCATION], hosts: {} },
    },
  });
  cleanups.push(() => proxy.close());

  const configFile = join(dir, 'postern.yaml');
  const secret = { mode: 0o600 };
  await mkdir(join(dir, 'destinations'));
  for (const place of places.filter(({ row }) => row.variant === 'file')) {
    const text = JSON.stringify(propertiesOf(place, around));
    await writeFile(join(dir, 'destinations', `${place.name}.json`), text, secret);
  }
  await writeFile(join(dir, 'destination.json'), JSON.stringify(service.binding), secret);
  await writeFile(join(dir, 'connectivity.json'), JSON.stringify(service.connectivityBinding), secret);
  const main = {
    destinations: { directory: './destinations', services: [{ name: 'main', binding: './destination.json' }] },
    connectivity: { host: LOOPBACK, port: proxy.port, token: { binding: './connectivity.json' } },
    grants: { directory: './grants' },
    tls: { additionalCAs: [certificates.caFile] },
    listeners: places.map(listenerOf),
  };
  await writeFile(configFile, JSON.stringify(main));
  const postern = await up({ configFile, workers: options.workers ?? 2, logFile: join(dir, 'log') });
  cleanups.push(() => postern.stop());

  const of = (row: Row) => pairs.get(row.name) as { place: Place; twin: Place };
  return { dovecot, postfix, provider, service, proxy, postern, of, connections: () => connections(postern) };
}

function portOf(protocol: Protocol, tls: boolean, dovecot: Dovecot, postfix: Postfix): number {
  if (protocol === 'smtp') return tls ? postfix.smtps : postfix.submission;
  return protocol === 'imap' ? dovecot[tls ? 'imaps' : 'imap'] : dovecot[tls ? 'pop3s' : 'pop3'];
}

type Ports = Record<Protocol, number>;

function plainPorts({ dovecot, postfix }: Pick<Stage, 'dovecot' | 'postfix'>): Ports {
  return { smtp: postfix.submission, pop3: dovecot.pop3, imap: dovecot.imap };
}

/** Ports of their own, at which the servers' lines are passed. */
async function between(
  servers: Pick<Stage, 'dovecot' | 'postfix'>,
  pass: Pass,
  cleanups: (() => Promise<unknown>)[],
): Promise<Ports> {
  const ports = plainPorts(servers);
  for (const protocol of ['smtp', 'pop3', 'imap'] as const) {
    const { port, close } = await startBetween(ports[protocol], pass);
    cleanups.push(close);
    ports[protocol] = port;
  }
  return ports;
}

function virtualHosts(virtual: Ports, real: Ports): Record<string, { host: string; port: number }> {
  const protocols = Object.keys(virtual) as Protocol[];
  return Object.fromEntries(
    protocols.map((protocol) => [`${VIRTUAL_HOST}:${virtual[protocol]}`, { host: LOOPBACK, port: real[protocol] }]),
  );
}

async function connections({ adminSocket }: Running): Promise<Record<string, number>> {
  const filter = '^cluster%5C.postern-(direct|direct-tls|relay|fallback-.*)%5C.upstream_cx_total$';
  const stats = await askAdmin(adminSocket, `/stats?filter=${filter}`);
  const found = [...stats.matchAll(/^cluster\.(.*)\.upstream_cx_total: (\d+)$/gm)];
  return Object.fromEntries(found.map(([, name, count]) => [name, Number(count)]));
}
