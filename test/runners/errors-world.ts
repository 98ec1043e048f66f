import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { atExit } from '../../cli/at-exit.ts';
import { type Certificates, createCertificates, type IssueOptions } from '../../demo/certificates.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';

export const USER = 'alice@mail.example';
export const PASSWORD = 'secret';
export const LOCALHOST = '127.0.0.1';

/** On-premise hosts of the world, all at this port. */
export const ONPREM_PORT = 587;
export const REPLIES = [1, 2, 3, 4, 5, 6, 7, 8];

/** Servers of every kind that goes wrong, all on 127.0.0.1. */
export interface ErrorWorld {
  caFile: string;
  mail: MailServer;
  proxy: ConnectivityProxy;
  /** TLS with a certificate that is not good for 127.0.0.1. */
  wrongName: number;
  expired: number;
  selfSigned: number;
  /** Closes without a word. */
  closes: number;
  /** Never says a word. */
  silent: number;
  /** Greets, and resets the connection at the first command. */
  resets: Record<Protocol, number>;
  /** Does not even take the connection. */
  full: number;
  close(): Promise<void>;
}

export async function startErrorWorld(directory: string): Promise<ErrorWorld> {
  const certificates = await createCertificates(join(directory, 'certificates'));
  const good = await certificates.issue('mail.example', { addresses: [LOCALHOST] });
  const mail = await startMailServer({ accounts: { [USER]: PASSWORD }, tls: good });
  const proxy = await startProxy(mail);
  const servers: Server[] = [];
  const start = (server: Server) => {
    servers.push(server);
    return listen(server);
  };
  const tls = (name: string, options: IssueOptions) => tlsServer(certificates, name, options);
  const full = await startFull();
  return {
    caFile: certificates.caFile,
    mail,
    proxy,
    wrongName: await start(await tls('wrong-name', { names: ['other.example'] })),
    expired: await start(await tls('expired', { addresses: [LOCALHOST], expired: true })),
    selfSigned: await start(await tls('self-signed', { addresses: [LOCALHOST], selfSigned: true })),
    closes: await start(createServer((socket) => void socket.on('error', () => {}).end())),
    silent: await start(createServer((socket) => void socket.on('error', () => {}).resume())),
    resets: {
      smtp: await start(resetting('220 mail.example')),
      imap: await start(resetting('* OK mail.example')),
      pop3: await start(resetting('+OK mail.example')),
    },
    full: full.port,
    async close() {
      for (const server of servers) server.close();
      full.close();
      await Promise.all([mail.close(), proxy.close()]);
    },
  };
}

function startProxy(mail: MailServer): Promise<ConnectivityProxy> {
  const plain = Object.entries(mail.ports.plain) as [Protocol, number][];
  return startConnectivityProxy({
    tokens: 'none',
    locations: [''],
    hosts: Object.fromEntries(
      plain.map(([protocol, port]) => [`${protocol}.onprem:${ONPREM_PORT}`, { host: LOCALHOST, port }]),
    ),
    replies: Object.fromEntries(REPLIES.map((code) => [`reply${code}.onprem:${ONPREM_PORT}`, code])),
  });
}

async function tlsServer(certificates: Certificates, name: string, options: IssueOptions): Promise<Server> {
  const { cert, key } = await certificates.issue(name, options);
  const server = createTlsServer({ cert, key }, (socket) => void socket.on('error', () => {}).end('hello\r\n'));
  server.on('tlsClientError', () => {});
  return server;
}

function resetting(greeting: string): Server {
  return createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.resetAndDestroy());
    socket.write(`${greeting}\r\n`);
  });
}

async function listen(server: Server): Promise<number> {
  server.listen(0, LOCALHOST);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Prints the port on which it listens with room for one waiting connection (listen(2)); Node itself would accept at once, so it is stopped. */
const LISTENER = `const server = require('node:net').createServer();
server.listen({ port: 0, host: '${LOCALHOST}', backlog: 1 }, () => console.log(server.address().port));`;

/** Linux drops what comes to a full backlog: to a client it is an address that does not answer. */
async function startFull(): Promise<{ port: number; close: () => void }> {
  const child: ChildProcess = spawn(process.execPath, ['-e', LISTENER], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer];
  child.kill('SIGSTOP');
  const callOff = atExit(() => child.kill('SIGKILL'));
  const port = Number(line.toString());
  const fillers = await fill(port);
  const close = () => {
    for (const filler of fillers) filler.destroy();
    child.kill('SIGKILL');
    callOff();
  };
  return { port, close };
}

/** Connects until nothing is accepted any more. */
async function fill(port: number, fillers: Socket[] = []): Promise<Socket[]> {
  const filler = connect(port, LOCALHOST).on('error', () => {});
  fillers.push(filler);
  const connected = await once(filler, 'connect', { signal: AbortSignal.timeout(500) }).catch(() => undefined);
  return connected ? fill(port, fillers) : fillers;
}
