import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JSONWebKeySet } from 'jose';
import { type Account, View } from './accounts.ts';
import { checkChain, lookUp, readFragments, readQuery } from './find.ts';
import { authTokens, type FlowOptions, failedToken } from './flows.ts';
import { Refusal, refuse, refuseGrant } from './refusal.ts';
import { createXsuaa, type Xsuaa } from './xsuaa.ts';

export interface DestinationServiceOptions extends FlowOptions {
  /**
   * Provider and subscribers by subdomain: what each has in its subaccount and its service instance. Tests may change
   * them meanwhile.
   */
  accounts: Record<string, Account>;
  /** Which of them is the provider; default: the first. */
  provider?: string;
  /** Tenant ids (the claim `zid`) by subdomain; default: the subdomain itself. */
  tenantIds?: Record<string, string>;
  /** Chains by name, each with the variables that it needs. */
  chains?: Record<string, string[]>;
  /** HTTPS in place of HTTP: PEM texts. */
  tls?: { cert: string; key: string };
  /**
   * A client certificate for the Destination service's binding, in place of a client secret: PEM texts. Needs `tls`.
   */
  clientCertificate?: { cert: string; key: string };
  /** Lifetime of the tokens for the services themselves (43,200, as XSUAA's). */
  tokenSeconds?: number;
  /** On 127.0.0.1; default: any free one. */
  port?: number;
}

/** What a service key holds. */
export interface ServiceKey {
  clientid: string;
  clientsecret?: string;
  certurl?: string;
  certificate?: string;
  key?: string;
  url: string;
  uri?: string;
  identityzone: string;
  xsappname: string;
}

/** One request, without any of its secrets. */
export interface RequestLog {
  what: 'token' | 'destination' | 'other';
  method: string;
  /** Without its query. */
  path: string;
  /** Names of the query's parameters. */
  query: string[];
  /** Names of the X- headers, in lower case and sorted. */
  headers: string[];
  /** Subdomain; absent where the request was refused before it was known. */
  tenant?: string;
  destination?: string;
  status: number;
  /** Why the token service gave no token: the text in authTokens. */
  tokenError?: string;
}

/**
 * `down`: the connection breaks. `5xx`: status 503. `401`: the token is refused. `slow`: no answer for `ms`. `token`:
 * authTokens has an error (destinations only).
 */
export type Fault = { kind: 'down' | '5xx' | '401' | 'token' } | { kind: 'slow'; ms: number };

export interface DestinationServiceSimulator {
  /**
   * Of the whole simulator, `http://provider.localhost:PORT`: a subscriber's token endpoint is below its own
   * subdomain.
   */
  url: string;
  binding: ServiceKey;
  /** For the Connectivity Proxy: a client of the same XSUAA. */
  connectivityBinding: ServiceKey;
  /** Of XSUAA, and what tokens for the Connectivity Proxy are for: see connectivity-proxy/jwt.ts. */
  jwks: JSONWebKeySet;
  connectivityAudience: string;
  /** Stay until they are taken away; `left` requests, where given. */
  faults: { token?: Fault & { left?: number }; destination?: Fault & { left?: number } };
  log: RequestLog[];
  /** For tests: a token as XSUAA issues it, without a request. */
  token: Xsuaa['token'];
  /** Another client secret (or certificate): the old one is refused from now on. */
  rotate(clientCertificate?: { cert: string; key: string }): void;
  close(): Promise<void>;
}

const CONNECTIVITY = 'connectivity!b1';
const DESTINATION = 'destination-xsappname!b2';

/** Octets of a token request. */
const FORM_LIMIT = 65_536;

/**
 * Simulates SAP's Destination service ("Find a Destination" v1, "Consume" v2) and, at the same port, the XSUAA that
 * issues its tokens, as SAP documents them. OAuth flows run against the destinations' own token services.
 *
 * Undocumented, and so our choice: 400 with `ErrorMessage` for headers, levels and query parameters that are wrong or
 * missing; 403 for a token of another service and for levels that must not be combined; 404 with another text for a
 * missing fragment; provider levels are refused with the provider's own token; `expires_in` is a text; Common without
 * X-tenant is an error in authTokens. Left out: includeMetadata, certificates, and the ban on token services at
 * private addresses, for a demo has no others.
 */
export async function startDestinationService(
  options: DestinationServiceOptions,
): Promise<DestinationServiceSimulator> {
  const simulator = new Simulator(options);
  await simulator.start();
  return simulator;
}

class Simulator implements DestinationServiceSimulator {
  readonly log: RequestLog[] = [];
  readonly faults: DestinationServiceSimulator['faults'] = {};
  readonly connectivityAudience = CONNECTIVITY;
  readonly #options: DestinationServiceOptions;
  readonly #provider: string;
  readonly #clients: Parameters<typeof createXsuaa>[0]['clients'] = [];
  readonly #server: ReturnType<typeof createServer>;
  #xsuaa: Xsuaa | undefined;
  #port = 0;
  #certificate: { cert: string; key: string } | undefined;

  constructor(options: DestinationServiceOptions) {
    this.#options = options;
    this.#provider = options.provider ?? Object.keys(options.accounts)[0] ?? 'provider';
    const answer = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response);
    // Any client certificate is let through the handshake: the token endpoint knows whose it must be.
    this.#server = options.tls
      ? createTlsServer({ ...options.tls, requestCert: true, rejectUnauthorized: false }, answer)
      : createServer(answer);
    this.#certificate = options.clientCertificate;
    this.#clients.push({ id: clientId(CONNECTIVITY), secret: secret(), audience: CONNECTIVITY });
    this.rotate(options.clientCertificate);
  }

  async start(): Promise<void> {
    const { accounts, tenantIds = {}, tokenSeconds } = this.#options;
    const zones = Object.fromEntries(Object.keys(accounts).map((tenant) => [tenant, tenantIds[tenant] ?? tenant]));
    const lifetime = tokenSeconds === undefined ? {} : { tokenSeconds };
    this.#xsuaa = await createXsuaa({ clients: this.#clients, zones, provider: this.#provider, ...lifetime });
    this.#server.listen(this.#options.port ?? 0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  rotate(clientCertificate?: { cert: string; key: string }): void {
    this.#certificate = clientCertificate;
    const own = clientCertificate ? { certificate: clientCertificate.cert } : { secret: secret() };
    const id = this.#clients[1]?.id ?? clientId(DESTINATION);
    this.#clients.splice(1, 1, { id, ...own, audience: DESTINATION });
  }

  get url(): string {
    return `${this.#options.tls ? 'https' : 'http'}://${this.#provider}.localhost:${this.#port}`;
  }

  get binding(): ServiceKey {
    const { id = '', secret: clientsecret } = this.#clients[1] ?? {};
    const proof = this.#certificate
      ? { certurl: this.url, certificate: this.#certificate.cert, key: this.#certificate.key }
      : { clientsecret: clientsecret ?? '' };
    return {
      clientid: id,
      ...proof,
      url: this.url,
      uri: this.url,
      identityzone: this.#provider,
      xsappname: DESTINATION,
    };
  }

  get connectivityBinding(): ServiceKey {
    const { id = '', secret: clientsecret = '' } = this.#clients[0] ?? {};
    return { clientid: id, clientsecret, url: this.url, identityzone: this.#provider, xsappname: CONNECTIVITY };
  }

  get jwks(): JSONWebKeySet {
    return this.#issuer.jwks;
  }

  get token(): Xsuaa['token'] {
    return this.#issuer.token;
  }

  get #issuer(): Xsuaa {
    if (!this.#xsuaa) throw new Error('not started');
    return this.#xsuaa;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const entry = entryOf(request);
    const fault = this.#fault(entry.what);
    if (fault?.kind === 'down') {
      this.log.push({ ...entry, status: 0 });
      request.socket.destroy();
      return;
    }
    if (fault?.kind === 'slow') await sleep(fault.ms);
    const { status, headers, body } = await this.#answer(request, entry, fault).catch(toAnswer);
    this.log.push({ ...entry, status });
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  }

  #fault(what: RequestLog['what']): Fault | undefined {
    if (what === 'other') return undefined;
    const fault = this.faults[what];
    if (!fault || fault.left === 0) return undefined;
    if (fault.left !== undefined) fault.left--;
    return fault;
  }

  async #answer(request: IncomingMessage, entry: RequestLog, fault: Fault | undefined): Promise<Reply> {
    if (fault?.kind === '5xx') throw refuse(503, 'Service is not available');
    if (fault?.kind === '401') throw refuse(401, 'Token is not valid');
    const body = entry.what === 'token' ? await this.#issue(request, entry) : await this.#find(request, entry, fault);
    return { status: 200, headers: {}, body };
  }

  async #issue(request: IncomingMessage, entry: RequestLog): Promise<object> {
    if (request.method !== 'POST') throw refuseGrant(405, 'method_not_allowed', 'Request method is not supported');
    if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers['content-type'] ?? '')) {
      throw refuseGrant(415, 'unsupported_media_type', 'Content type is not supported');
    }
    const { tenant, body } = await this.#issuer.issue(request, new URLSearchParams(await readForm(request)));
    entry.tenant = tenant;
    return body;
  }

  async #find(request: IncomingMessage, entry: RequestLog, fault: Fault | undefined): Promise<object> {
    const query = readQuery(request);
    entry.destination = query.name;
    const { tenant } = await this.#issuer.verify(request.headers.authorization, DESTINATION);
    entry.tenant = tenant;
    const fragments = readFragments(request);
    checkChain(request, this.#options.chains ?? {});
    const destinationConfiguration = lookUp(this.#view(tenant), query, fragments);
    const owner = query.level === undefined && { owner: { SubaccountId: tenant, InstanceId: null } };
    if (query.skipTokenRetrieval) return { ...owner, destinationConfiguration };
    const tokens = await this.#tokens(destinationConfiguration, request, fault);
    const error = tokens?.[0]?.error;
    if (typeof error === 'string') entry.tokenError = error.slice(0, 60);
    return { ...owner, destinationConfiguration, ...(tokens && { authTokens: tokens }) };
  }

  #tokens(configuration: Record<string, string>, request: IncomingMessage, fault: Fault | undefined) {
    if (fault?.kind === 'token') return [failedToken('Retrieval of OAuthToken failed due to: a fault was injected')];
    return authTokens(configuration, request.headers, this.#options);
  }

  #view(tenant: string): View {
    const { accounts } = this.#options;
    return new View(accounts[tenant] ?? {}, tenant === this.#provider ? undefined : (accounts[this.#provider] ?? {}));
  }
}

interface Reply {
  status: number;
  headers: Record<string, string>;
  body: object;
}

function toAnswer(error: unknown): Reply {
  return error instanceof Refusal
    ? error
    : { status: 500, headers: {}, body: { ErrorMessage: 'Internal Server Error' } };
}

function entryOf(request: IncomingMessage): RequestLog {
  const url = URL.parse(request.url ?? '/', 'http://localhost');
  const path = url?.pathname ?? '';
  const what =
    path === '/oauth/token' ? 'token' : path.startsWith('/destination-configuration/') ? 'destination' : 'other';
  return {
    what,
    method: request.method ?? '',
    path,
    query: [...(url?.searchParams.keys() ?? [])],
    headers: Object.keys(request.headers)
      .filter((name) => name.startsWith('x-'))
      .sort(),
    status: 0,
  };
}

async function readForm(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > FORM_LIMIT) throw refuseGrant(413, 'invalid_request', 'Request is too large');
  }
  return text;
}

/** As the service broker makes them, one for each instance. */
function clientId(service: string): string {
  return `sb-clone-${randomBytes(6).toString('hex')}!b9|${service}`;
}

function secret(): string {
  return randomBytes(24).toString('base64');
}
