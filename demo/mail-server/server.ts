import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { Closed, Connection } from './connection.ts';
import { converse, type Dialogue, type Login, type Server } from './dialogue.ts';
import { ImapDialogue } from './imap.ts';
import { Pop3Dialogue } from './pop3.ts';
import { PASSWORD_MECHANISMS, TOKEN_MECHANISMS } from './sasl.ts';
import { SmtpDialogue } from './smtp.ts';
import { Store } from './store.ts';

export type { Login } from './dialogue.ts';

export interface MailServerOptions {
  /** Passwords by user. The first user gets all mail for addresses that belong to no other. */
  accounts: Record<string, string>;
  /** PEM texts, for the three ports with implicit TLS. */
  tls: { cert: string; key: string };
  /** Whose mailbox an access token opens; undefined: nobody's. Without it there is no XOAUTH2 and no OAUTHBEARER. */
  tokens?: (token: string) => Promise<string | undefined>;
}

export interface MailServer {
  ports: Record<'plain' | 'tls', Record<Protocol, number>>;
  store: Store;
  /** Every login that succeeded, oldest first; at most the last 10,000. */
  logins: Login[];
  /** What should not have happened inside the server, for tests to look at: empty when all is well. */
  faults: unknown[];
  close(): Promise<void>;
}

/** Load tests log in 100,000 times. */
const LOGINS_KEPT = 10_000;

const DIALOGUES: Record<Protocol, new (connection: Connection, server: Server) => Dialogue> = {
  smtp: SmtpDialogue,
  imap: ImapDialogue,
  pop3: Pop3Dialogue,
};
const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];

/**
 * A small mail server in memory on free loopback ports: submission, IMAP4rev1 and POP3 over the same mailboxes, plain and implicit TLS.
 * It lets nobody do anything without a login.
 */
export async function startMailServer(options: MailServerOptions): Promise<MailServer> {
  const store = new Store(Object.keys(options.accounts));
  const [logins, faults]: [Login[], unknown[]] = [[], []];
  const mechanisms = [...PASSWORD_MECHANISMS, ...(options.tokens ? TOKEN_MECHANISMS : [])];
  const server: Server = { name: 'mail.demo', store, mechanisms, logIn };
  const sockets = new Set<Socket>();
  const listeners: NetServer[] = [];

  async function logIn(login: Login, secret: string): Promise<boolean> {
    const { user, mechanism } = login;
    if (!Object.hasOwn(options.accounts, user)) return false;
    const isRight = TOKEN_MECHANISMS.some((name) => name === mechanism)
      ? (await options.tokens?.(secret)) === user
      : options.accounts[user] === secret;
    if (isRight && logins.push(login) > LOGINS_KEPT) logins.shift();
    return isRight;
  }

  async function serve(protocol: Protocol, socket: Socket): Promise<void> {
    const connection = new Connection(socket);
    try {
      await converse(connection, new DIALOGUES[protocol](connection, server));
    } catch (error) {
      if (!(error instanceof Closed)) faults.push(error);
    }
    await connection.end();
  }

  async function listen(listener: NetServer): Promise<number> {
    listeners.push(listener);
    // Counted from the TCP connection on, so that close() also ends unfinished TLS handshakes.
    listener.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return (listener.address() as AddressInfo).port;
  }

  const ports: MailServer['ports'] = { plain: { smtp: 0, imap: 0, pop3: 0 }, tls: { smtp: 0, imap: 0, pop3: 0 } };
  for (const protocol of PROTOCOLS) {
    const accept = (socket: Socket) => void serve(protocol, socket);
    // Half-open: `printf ... | nc -N` ends its side before it has read the answers.
    ports.plain[protocol] = await listen(createServer({ allowHalfOpen: true }, accept));
    ports.tls[protocol] = await listen(createTlsServer({ ...options.tls, allowHalfOpen: true }, accept));
  }

  async function close(): Promise<void> {
    const closed = listeners.map((listener) => once(listener, 'close'));
    for (const listener of listeners) listener.close();
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  }

  return { ports, store, logins, faults, close };
}
