import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import {
  AUTHENTICATION_FAILED,
  AUTHENTICATION_SUCCEEDED,
  METHOD_JWT,
  METHOD_NONE,
  METHOD_UNACCEPTABLE,
  REPLY,
  type Read,
  Refusal,
  type Request,
  readAuthentication,
  readGreeting,
  readRequest,
  reply,
} from './connectivity-proxy/handshake.ts';

export interface ConnectivityProxyOptions {
  /**
   * `verify` resolves with the tenant that a token is for (connectivity-proxy/jwt.ts) and rejects one that is not valid.
   * `none`: a proxy that trusts its network takes any token, also one of length 0.
   */
  tokens: { accept(jwt: string): boolean } | { verify(jwt: string): Promise<string> } | 'none';
  /** Location ids of the connected Cloud Connectors; '' is the one without a location id. Any other: reply 3. */
  locations: string[];
  /** What the Cloud Connector exposes, by "virtual-host:port"; nothing else resolves these names. Any other: reply 2. */
  hosts: Record<string, { host: string; port: number }>;
  /** The same for each tenant that has Cloud Connectors, in place of the two above; for `verify`. Any other tenant: reply 3. */
  tenants?: Record<string, Pick<ConnectivityProxyOptions, 'locations' | 'hosts'>>;
  /** Choose method 0x00 (and no location id) where it is offered, and refuse 0x80. Only with tokens: 'none'. */
  noAuthMethod?: boolean;
  /** Answers for "virtual-host:port" that no simulated cause gives: 1 (failure), 5 (authentication), or any other code. */
  replies?: Record<string, number>;
  /** Wait for the mail server's first bytes and send them in the same write as the reply. It closes without any: reply 1. */
  firstBytesWithReply?: boolean;
  /** Milliseconds until an unfinished handshake is closed (10,000), and until a silent mail server gives reply 4 (5,000). */
  handshakeMs?: number;
  connectMs?: number;
}

/** One CONNECT request, and the reply that it got. */
export interface ConnectLog {
  host: string;
  port: number;
  location: string;
  /** Whose token it was, where tokens are verified. */
  tenant?: string;
  code: number;
}

export interface ConnectivityProxy {
  /** On 127.0.0.1. */
  port: number;
  log: ConnectLog[];
  close(): Promise<void>;
}

/**
 * Simulates the SOCKS5 side of SAP's Connectivity Proxy with a Cloud Connector behind it, byte by byte as SAP documents it
 * ("Using the TCP Protocol for Cloud Applications"). Undocumented, and so our choice: a failed authentication is answered
 * with 01 01 and a close; an unknown location id is told in reply to CONNECT; a wrong SOCKS version is not answered.
 */
export async function startConnectivityProxy(
  options: ConnectivityProxyOptions,
  address: { port?: number } = {},
): Promise<ConnectivityProxy> {
  const log: ConnectLog[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    track(sockets, client);
    new Session(client, options, log, (backend) => track(sockets, backend)).start();
  });
  server.listen(address.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return { port: (server.address() as AddressInfo).port, log, close };
}

function track(sockets: Set<Socket>, socket: Socket): void {
  socket.on('error', () => {});
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
}

type Phase = 'greeting' | 'authentication' | 'verification' | 'request' | 'connected';

/** One client's handshake: phases in wire order, one function for each. */
class Session {
  #phase: Phase = 'greeting';
  #bytes = Buffer.alloc(0);
  #location = '';
  #tenant: string | undefined;
  #finish = () => {};
  readonly #client: Socket;
  readonly #options: ConnectivityProxyOptions;
  readonly #log: ConnectLog[];
  readonly #onBackend: (backend: Socket) => void;

  constructor(
    client: Socket,
    options: ConnectivityProxyOptions,
    log: ConnectLog[],
    onBackend: (backend: Socket) => void,
  ) {
    this.#client = client;
    this.#options = options;
    this.#log = log;
    this.#onBackend = onBackend;
  }

  start(): void {
    const timer = setTimeout(() => this.#client.destroy(), this.#options.handshakeMs ?? 10_000);
    const onData = (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#advance();
    };
    const onEnd = () => this.#client.end();
    this.#finish = () => {
      clearTimeout(timer);
      this.#client.off('data', onData).off('end', onEnd);
    };
    this.#client.on('data', onData).once('end', onEnd).once('close', this.#finish);
  }

  #advance(): void {
    try {
      if (this.#phase === 'greeting') this.#greeting();
      if (this.#phase === 'authentication') this.#authentication();
      if (this.#phase === 'request') this.#request();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refuse(error.answer);
    }
  }

  #refuse(answer: Buffer): void {
    this.#finish();
    close(this.#client, answer);
  }

  #greeting(): void {
    const methods = this.#take(readGreeting(this.#bytes));
    if (!methods) return;
    const method = this.#options.noAuthMethod ? METHOD_NONE : METHOD_JWT;
    if (!methods.includes(method)) throw new Refusal(Buffer.from([5, METHOD_UNACCEPTABLE]));
    this.#client.write(Buffer.from([5, method]));
    this.#phase = method === METHOD_JWT ? 'authentication' : 'request';
  }

  #authentication(): void {
    const authentication = this.#take(readAuthentication(this.#bytes));
    if (!authentication) return;
    const { tokens } = this.#options;
    const { jwt, location } = authentication;
    this.#location = location;
    if (tokens !== 'none' && 'verify' in tokens) {
      this.#phase = 'verification';
      void this.#verify(tokens.verify(jwt));
      return;
    }
    if (tokens !== 'none' && !tokens.accept(jwt)) throw new Refusal(AUTHENTICATION_FAILED);
    this.#authenticated();
  }

  async #verify(tenant: Promise<string>): Promise<void> {
    try {
      this.#tenant = await tenant;
    } catch {
      this.#refuse(AUTHENTICATION_FAILED);
      return;
    }
    this.#authenticated();
    this.#advance(); // the request may have come meanwhile
  }

  #authenticated(): void {
    this.#client.write(AUTHENTICATION_SUCCEEDED);
    this.#phase = 'request';
  }

  #request(): void {
    const request = this.#take(readRequest(this.#bytes));
    if (!request) return;
    this.#phase = 'connected';
    this.#finish();
    this.#client.pause();
    if (this.#bytes.length > 0) this.#client.unshift(this.#bytes);
    void this.#connect(request);
  }

  async #connect(request: Request): Promise<void> {
    const backend = await this.#open(request);
    const code = typeof backend === 'number' ? backend : REPLY.success;
    const tenant = this.#tenant === undefined ? {} : { tenant: this.#tenant };
    this.#log.push({ ...request, location: this.#location, ...tenant, code });
    if (typeof backend === 'number') close(this.#client, reply(code));
    else join(this.#client, backend);
  }

  /** The mail server's socket with the reply already sent, or the code of the reply to send. */
  async #open({ host, port }: Request): Promise<Socket | number> {
    const place = `${host.toLowerCase()}:${port}`;
    const { replies = {}, connectMs = 5_000, firstBytesWithReply } = this.#options;
    const { locations, hosts } = this.#exposed();
    const forced = replies[place];
    if (forced !== undefined) return forced;
    if (!locations.includes(this.#location)) return REPLY.networkUnreachable;
    const real = hosts[place];
    if (!real) return REPLY.forbidden;
    const backend = connect({ ...real, allowHalfOpen: true, noDelay: true });
    this.#onBackend(backend);
    if (!(await isConnected(backend, connectMs))) return REPLY.hostUnreachable;
    const first = firstBytesWithReply ? await firstBytes(backend) : Buffer.alloc(0);
    if (!first) return REPLY.failure;
    this.#client.write(Buffer.concat([reply(REPLY.success), first]));
    return backend;
  }

  /** What the Cloud Connectors of the token's tenant expose. */
  #exposed(): Pick<ConnectivityProxyOptions, 'locations' | 'hosts'> {
    const { tenants } = this.#options;
    if (!tenants) return this.#options;
    const known =
      this.#tenant !== undefined && Object.hasOwn(tenants, this.#tenant) ? tenants[this.#tenant] : undefined;
    return known ?? { locations: [], hosts: {} };
  }

  #take<T>(read: Read<T>): T | undefined {
    if (!read) return undefined;
    this.#bytes = this.#bytes.subarray(read.length);
    return read.message;
  }
}

/** Says the last word and ends; bytes that still come are dropped, so that the answer is not lost in a reset. */
function close(client: Socket, answer: Buffer): void {
  client.end(answer);
  client.resume();
  const timer = setTimeout(() => client.destroy(), 2_000);
  client.once('close', () => clearTimeout(timer));
}

async function isConnected(backend: Socket, ms: number): Promise<boolean> {
  try {
    await once(backend, 'connect', { signal: AbortSignal.timeout(ms) });
    return true;
  } catch {
    backend.destroy();
    return false;
  }
}

/** Undefined: it closed without a word. */
function firstBytes(backend: Socket): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const settle = (bytes?: Buffer) => {
      backend.pause().off('data', settle).off('end', settle).off('close', onClose);
      resolve(bytes);
    };
    const onClose = () => settle();
    backend.once('data', settle).once('end', settle).once('close', onClose);
  });
}

/** Bytes, back-pressure and both ends of stream; where one side breaks, the other is closed after what it was sent. */
function join(client: Socket, backend: Socket): void {
  if (client.destroyed) backend.destroy();
  client.pipe(backend);
  backend.pipe(client);
  const pairs: [Socket, Socket][] = [
    [client, backend],
    [backend, client],
  ];
  for (const [one, other] of pairs) {
    one.once('close', () => {
      if (!one.readableEnded || !one.writableFinished) other.resume().destroySoon();
    });
  }
}
