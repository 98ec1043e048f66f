import { createServer, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { Failure, type Protocol } from '../failure.ts';
import { fetchesOf } from '../http.ts';
import { failureCode, relaySessions } from '../observe/counted.ts';
import type { Labels } from '../observe/openmetrics.ts';
import { traffic } from '../observe/traffic.ts';
import type { RelayTarget } from '../relay-target.ts';
import { createResolve, type Resolve } from '../route/resolve.ts';
import { type Dialled, dial, type Means } from './dial.ts';
import { keepNames } from './names.ts';
import { openSpare } from './preconnect/open.ts';
import { Spares } from './preconnect/spares.ts';
import { listenPrivately } from './private-socket.ts';
import type { ProxyHeader } from './proxy-header.ts';
import { receiveHeader } from './receive-header.ts';
import { refuse } from './refuse.ts';
import { splice } from './splice.ts';
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
  spares: Spares;
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
  const spares = new Spares({ open: (target, signal) => openSpare(target, means, signal), target, log });
  const relay: Relay = { target, log, ...means, sockets: new Set(), spares };
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
        spares.close();
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
    await carry(relay, app, target, header);
  } catch (error) {
    relaySessions.add({ ...(target && labelsOf(target)), outcome: app.destroyed ? 'gone' : failureCode(error) });
    const failure = error instanceof Failure ? error : new Failure('internal', 'unexpected error', { cause: error });
    giveUp(relay, app, failure, target?.protocol ?? protocolOf(header.routeId), target?.destination ?? 'unknown');
  }
}

async function carry(relay: Relay, app: Socket, target: RelayTarget, header: ProxyHeader): Promise<void> {
  const { routeId = '' } = header;
  const { socket: server, greeting } = await connectFor(app, routeId, target, relay);
  track(relay, server);
  relaySessions.add({ ...labelsOf(target), outcome: app.destroyed ? 'gone' : 'ok' });
  if (app.destroyed) {
    server.destroy();
    return;
  }
  relay.spares.renew(routeId, target);
  traffic.watch(app, labelsOf(target), header.length);
  if (greeting) app.write(greeting, 'latin1');
  splice(app, server);
  relay.log.debug({ destination: target.destination }, 'relay: connected');
}

/** One that stands ready, or a new one; for as long as the app waits. */
async function connectFor(app: Socket, routeId: string, target: RelayTarget, relay: Relay): Promise<Dialled> {
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = setTimeout(abort, target.connectTimeoutMs);
  app.once('close', abort);
  try {
    return (await relay.spares.take(routeId, stop.signal)) ?? (await dial(target, relay, stop.signal));
  } finally {
    clearTimeout(timer);
    app.off('close', abort);
  }
}

function labelsOf({ destination, tenant = '', protocol }: RelayTarget): Labels {
  return { destination, tenant, protocol };
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
