import { createServer, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { Failure, type Protocol } from '../failure.ts';
import { fetchesOf } from '../http.ts';
import type { RelayTarget } from '../relay-target.ts';
import { createResolve, type Resolve } from '../route/resolve.ts';
import { dial, type Means } from './dial.ts';
import { keepNames } from './names.ts';
import { listenPrivately } from './private-socket.ts';
import { receiveHeader } from './receive-header.ts';
import { refuse } from './refuse.ts';
import { splice } from './splice.ts';
import { ownGreeting } from './starttls/greeting.ts';
import { TlsClient } from './tls.ts';
import { Tokens } from './token.ts';

export interface RelayOptions {
  /** Unix socket, created with mode 0600. Its folder must exist. */
  socketPath: string;
  /** The target of a current route id; undefined for an unknown or superseded one. */
  target: (routeId: string) => RelayTarget | undefined;
  log: Pick<Logger, 'debug' | 'warn'>;
  /** PEM text of every CA that is trusted: the system's and the additional ones. Without a certificate in it nobody is. */
  ca: string;
  resolve?: Resolve;
}

interface Relay extends Pick<RelayOptions, 'target' | 'log'>, Means {
  /** Every live socket, of both sides. */
  sockets: Set<Socket>;
}

/**
 * The relay of docs/contract.md: takes connections from Envoy and carries them to the mail server, through the Connectivity Proxy and with TLS
 * or STARTTLS where the target says so. `close` ends every connection. Rejects where the socket can't be listened on.
 */
export async function startRelay(options: RelayOptions): Promise<{ close(): Promise<void> }> {
  const { target, log, resolve = createResolve() } = options;
  const means: Means = {
    tokens: new Tokens(fetchesOf({ ca: options.ca }), log),
    resolve: keepNames(resolve),
    tls: new TlsClient(options.ca),
  };
  const relay: Relay = { target, log, ...means, sockets: new Set() };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (app) => {
    app.on('error', () => {}); // from the first moment: an 'error' event without a listener ends the program
    track(relay, app);
    void serve(relay, app);
  });
  await listenPrivately(server, options.socketPath);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of relay.sockets) socket.destroy();
      }),
  };
}

async function serve(relay: Relay, app: Socket): Promise<void> {
  const header = await receiveHeader(app);
  if (!header) {
    relay.log.warn('relay: a connection without a correct PROXY header was dropped');
    app.destroy();
    return;
  }
  let target: RelayTarget | undefined;
  try {
    target = header.routeId === undefined ? undefined : relay.target(header.routeId);
    if (!target) throw new Failure('internal', 'this route is no longer valid, please try again');
    await carry(relay, app, target);
  } catch (error) {
    const failure = error instanceof Failure ? error : new Failure('internal', 'unexpected error', { cause: error });
    giveUp(relay, app, failure, target?.protocol ?? protocolOf(header.routeId), target?.destination ?? 'unknown');
  }
}

async function carry(relay: Relay, app: Socket, target: RelayTarget): Promise<void> {
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = setTimeout(abort, target.connectTimeoutMs);
  app.once('close', abort);
  try {
    const server = await dial(target, relay, stop.signal);
    track(relay, server);
    if (app.destroyed) {
      server.destroy();
      return;
    }
    if (target.security.kind === 'starttls') app.write(ownGreeting(target));
    splice(app, server);
    relay.log.debug({ destination: target.destination }, 'relay: connected');
  } finally {
    clearTimeout(timer);
    app.off('close', abort);
  }
}

function giveUp(relay: Relay, app: Socket, failure: Failure, protocol: Protocol, destination: string): void {
  if (app.destroyed) return;
  const unexpected = failure.code === 'internal' ? failure.cause : undefined; // a mistake of ours: with its stack
  relay.log.warn(
    { destination, failure: failure.code, retry: failure.retry, err: unexpected },
    `relay: ${failure.message}`,
  );
  refuse(app, protocol, destination, failure);
}

/** An unknown route id may still name its protocol in front (`imap-…`); where nothing is known, SMTP's 421 is said. */
function protocolOf(routeId: string | undefined): Protocol {
  return (/^(smtp|imap|pop3)-/.exec(routeId ?? '')?.[1] ?? 'smtp') as Protocol;
}

function track(relay: Relay, socket: Socket): void {
  relay.sockets.add(socket);
  socket.once('close', () => relay.sockets.delete(socket));
}
