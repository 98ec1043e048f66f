import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { createCertificates } from '../../demo/certificates.ts';
import { startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { OUTSIDE } from './network.ts';

export const USER = 'office@example.test';
const PASSWORD = 'password of the office';

export const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];

/** `late` is the same as `mail`, for a first connection that a test makes when it likes. */
export type Purpose = 'mail' | 'late' | 'down';
const FIRST_PORT: Record<Purpose, number> = { mail: 2501, late: 2511, down: 2521 };

/** The listener's port, which is the Service's. */
export function portOf(protocol: Protocol, purpose: Purpose = 'mail'): number {
  return FIRST_PORT[purpose] + PROTOCOLS.indexOf(protocol);
}

export interface Place {
  protocol: Protocol;
  purpose: Purpose;
}

export const PLACES = Object.keys(FIRST_PORT).flatMap((purpose) =>
  PROTOCOLS.map((protocol) => ({ protocol, purpose: purpose as Purpose })),
);

export interface Mail {
  server: MailServer;
  /** FILE for sidecars and for the egress gateway, each in a folder with its destinations, as a Secret is mounted. */
  files: Record<'sidecar' | 'egress', string>;
  close(): Promise<void>;
}

/** The ways to the mail server, each of which pods can reach. */
interface Ways {
  smtp: Door;
  imap: Door;
  connectivityProxy: Door;
}

/** A mail server that demands login, outside of all pods. */
export async function startMail(directory: string): Promise<Mail> {
  const certificates = await createCertificates(directory);
  const tls = await certificates.issue('mail', { addresses: [OUTSIDE] });
  const server = await startMailServer({ accounts: { [USER]: PASSWORD }, tls });
  const inside = { host: '127.0.0.1', port: server.ports.plain.pop3 };
  const proxy = await startConnectivityProxy({ tokens: 'none', locations: [''], hosts: { [VIRTUAL]: inside } });
  const ways = {
    smtp: await openDoor(server.ports.tls.smtp),
    imap: await openDoor(server.ports.plain.imap),
    connectivityProxy: await openDoor(proxy.port),
  };
  const write = (folder: string, address: string) =>
    writeFiles({ folder: join(directory, folder), address, ways, ca: certificates.caFile });
  return {
    server,
    files: { sidecar: write('sidecar-files', '127.0.0.1'), egress: write('egress-files', '0.0.0.0') },
    close: async () => {
      for (const door of Object.values(ways)) door.close();
      await Promise.all([proxy.close(), server.close()]);
    },
  };
}

const VIRTUAL_HOST = 'mail.internal';
const VIRTUAL = `${VIRTUAL_HOST}:110`;
/** Nobody listens there, and the Cloud Connector exposes no such virtual host. */
const DOWN = 9;

/** Each protocol goes a way of its own: Envoy with TLS, Envoy without, and sidecar-auth's relay through a Connectivity Proxy. */
const WAYS: Record<Protocol, (ways: Ways, isDown: boolean) => Record<string, string>> = {
  smtp: ({ smtp }, isDown) => ({
    ProxyType: 'Internet',
    'mail.transport.protocol': 'smtps',
    'mail.smtps.host': OUTSIDE,
    'mail.smtps.port': String(isDown ? DOWN : smtp.port),
  }),
  imap: ({ imap }, isDown) => ({
    ProxyType: 'Internet',
    'mail.transport.protocol': 'imap4',
    'mail.imap4.host': OUTSIDE,
    'mail.imap4.port': String(isDown ? DOWN : imap.port),
    'mail.imap4.starttls.enable': 'false',
  }),
  pop3: (_, isDown) => ({
    ProxyType: 'OnPremise',
    'mail.transport.protocol': 'pop3',
    'mail.pop3.host': VIRTUAL_HOST,
    'mail.pop3.port': String(isDown ? DOWN : 110),
  }),
};

/** @returns FILE */
function writeFiles(options: { folder: string; address: string; ways: Ways; ca: string }): string {
  const { folder, address, ways, ca } = options;
  mkdirSync(folder);
  const listeners = PLACES.map(({ protocol, purpose }) => {
    const destination = `${protocol}-${purpose}`;
    const login = { 'mail.user': USER, 'mail.password': PASSWORD, Authentication: 'BasicAuthentication' };
    const properties = { Name: destination, Type: 'MAIL', ...login, ...WAYS[protocol](ways, purpose === 'down') };
    writeFileSync(join(folder, `${destination}.yaml`), stringify(properties));
    const open = address === '0.0.0.0' && { open: true };
    return { destination, address: `${address}:${portOf(protocol, purpose)}`, ...open };
  });
  const connectivity = { host: OUTSIDE, port: ways.connectivityProxy.port, token: 'none' };
  const file = join(folder, 'postern.yaml');
  const content = { destinations: { directory: '.' }, connectivity, tls: { additionalCAs: [ca] }, listeners };
  writeFileSync(file, stringify(content));
  return file;
}

interface Door {
  port: number;
  close(): void;
}

/** The demo's servers stand on loopback; pods come to the bridge's address. */
async function openDoor(target: number): Promise<Door> {
  const door = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    client.on('error', () => server.destroy()).on('close', () => server.destroy());
    server.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(server).pipe(client);
  });
  door.listen(0, OUTSIDE);
  await once(door, 'listening');
  return { port: (door.address() as AddressInfo).port, close: () => door.close() };
}
