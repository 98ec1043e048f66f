import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import type { LoginKind } from './apps.ts';
import type { Dovecot } from './dovecot.ts';
import type { Account } from './mailbox.ts';
import type { Postfix } from './postfix.ts';

/** One case of the matrix: a destination with an account, a mailbox and a listener of its own. */
export interface Cell extends Account {
  /** Name of the destination, and of the account at example.test. */
  name: string;
  onPremise: boolean;
  /** In SAP's words: `smtp`, `smtps`, `imap4`, ... */
  transport: string;
  protocol: Protocol;
  /** Implicit TLS between Postern and the server. */
  tls: boolean;
  kind: LoginKind;
}

const INTERNET = ['smtp', 'pop3', 'imap4', 'smtps', 'pop3s', 'imap4s'];
const ON_PREMISE = ['smtp', 'pop3', 'imap4'];
const PLACES = [
  ...ON_PREMISE.map((transport) => ({ transport, onPremise: true })),
  ...INTERNET.map((transport) => ({ transport, onPremise: false })),
];

/** Every place for each of the kinds. Names begin with `prefix`. */
export function cells(kinds: LoginKind[], places = PLACES, prefix = ''): Cell[] {
  return places.flatMap((place) => kinds.map((kind) => cell(place, kind, prefix)));
}

/** One Internet destination per protocol, in plain text. */
export function plainCells(kinds: LoginKind[], prefix: string): Cell[] {
  const places = ON_PREMISE.map((transport) => ({ transport, onPremise: false }));
  return cells(kinds, places, prefix);
}

function cell({ transport, onPremise }: (typeof PLACES)[number], kind: LoginKind, prefix: string): Cell {
  const name = `${prefix}${onPremise ? 'onpremise' : 'internet'}-${transport}-${kind}`;
  return {
    name,
    onPremise,
    transport,
    kind,
    protocol: transport.replace(/4?s?$/, '') as Protocol,
    tls: transport.endsWith('s'),
    user: `${name}@example.test`,
    password: randomBytes(9).toString('base64url'),
  };
}

/** What the Cloud Connector exposes: the virtual host of the on-premise destinations, with the protocols' own ports. */
export const VIRTUAL_HOST = 'mail.onprem.internal';
export const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, pop3: 110, imap: 143 };

export interface Servers {
  dovecot: Dovecot;
  postfix: Postfix;
  /** DNS name of both, as in their certificate. */
  host: string;
}

export interface PosternFiles {
  /** Ports of the listeners on 127.0.0.1, by the cell's name. */
  ports: Map<string, number>;
  /** Where the cell's destination leads. */
  serversOf: (cell: Cell) => Servers;
  /** PEM file with the CA of the servers. */
  caFile: string;
  proxyPort: number;
  /** What the Connectivity Proxy takes. */
  token: string;
}

/** Writes FILE and the destinations into `dir`; returns FILE. `password` is what a cell's destination says. */
export function writeConfiguration(dir: string, all: Cell[], files: PosternFiles, password: (cell: Cell) => string) {
  mkdirSync(join(dir, 'destinations'));
  for (const cell of all) {
    const properties = { ...destination(cell, files.serversOf(cell)), 'mail.password': password(cell) };
    writeFileSync(join(dir, 'destinations', `${cell.name}.json`), JSON.stringify(properties), { mode: 0o600 });
  }
  writeFileSync(join(dir, 'token'), files.token, { mode: 0o600 });
  const file = join(dir, 'postern.yaml');
  const main = {
    destinations: { directory: './destinations' },
    connectivity: { host: '127.0.0.1', port: files.proxyPort, token: { file: './token' } },
    tls: { additionalCAs: [files.caFile] },
    listeners: all.map(({ name }) => ({ destination: name, address: `127.0.0.1:${files.ports.get(name)}` })),
  };
  writeFileSync(file, JSON.stringify(main));
  return file;
}

/** In the Destination service's own property names. */
function destination(cell: Cell, servers: Servers): Record<string, string> {
  const { name, onPremise, transport, protocol, tls } = cell;
  const port = onPremise ? VIRTUAL_PORTS[protocol] : serverPort(cell, servers);
  return {
    Name: name,
    Type: 'MAIL',
    ProxyType: onPremise ? 'OnPremise' : 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': cell.user,
    'mail.transport.protocol': transport,
    [`mail.${transport}.host`]: onPremise ? VIRTUAL_HOST : servers.host,
    [`mail.${transport}.port`]: `${port}`,
    ...(!onPremise && !tls && { [`mail.${transport}.starttls.enable`]: 'false' }),
  };
}

export function serverPort({ protocol, tls }: Pick<Cell, 'protocol' | 'tls'>, { dovecot, postfix }: Servers): number {
  if (protocol === 'smtp') return tls ? postfix.smtps : postfix.submission;
  return protocol === 'imap' ? dovecot[tls ? 'imaps' : 'imap'] : dovecot[tls ? 'pop3s' : 'pop3'];
}
