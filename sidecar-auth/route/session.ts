import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { hostPort } from '../config/address.ts';
import type { Line } from '../contract/lines.ts';
import type { Exchange, Rejection } from '../contract/server.ts';
import type { Destination } from '../destination/destination.ts';
import { clean, Failure } from '../failure.ts';
import { timed } from '../observe/counted.ts';
import type { AccessToken, TokenIssuer } from '../token/issuer.ts';
import { bearerLines } from './bearer.ts';
import { GrantIds } from './grant-ids.ts';
import type { Resolve } from './resolve.ts';
import { destinationOf, type Route, type RouteTable } from './table.ts';

/** Seconds for which a relay route may be kept: no address in it can grow old, and changes are pushed. The contract's longest. */
const KEEP_RELAY = 120;
/** ... for an exchange that stands in for a stored grant that has ended: after the next `postern login` there is another. */
const KEEP_DEAD_GRANT = 5;
/** Octets of a failure's text (contract). */
const TEXT_LIMIT = 160;

/** What the Destination service says of a route. */
export interface Served {
  /** Undefined where it has none of that name, or is not configured. */
  destination?: Destination;
  issuer?: TokenIssuer;
  /** Date.now() until which this holds; it has been known for a while already. */
  until?: number;
}

export interface SessionParts {
  table: RouteTable;
  resolve: Resolve;
  /** Envoy's worker threads. */
  workers: number;
  /** What the Destination service knows under the listener's name. */
  served: (route: Route) => Promise<Served>;
  /** The issuer of a destination from a file. */
  issuer: (route: Route, destination: Destination) => TokenIssuer | undefined;
  /** The mail server refused this access token: no source of tokens may hand it out again. */
  refused: (token: string) => void;
  /** The grant that stood in for silent apps has ended; those that bring a token of their own go on. */
  onDeadGrant?: (destination: string, why: string) => void;
  /** What the filter knows of a listener is true no more. */
  onChange: (listenerId: string) => void;
}

/** Answers the contract's questions about sessions from the route table and the sources behind it. */
export class Sessions {
  readonly #parts: SessionParts;
  readonly #grants = new GrantIds();

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** POST /v1/sessions: a route and a login, or a failure. Never throws. */
  async answer(listenerId: string): Promise<Line[]> {
    const route = this.#parts.table.ofListener(listenerId);
    try {
      const { current, issuer, until } = await this.#current(listenerId);
      const [to, login] = await Promise.all([leadsTo(current, this.#parts.resolve), this.#login(current, issuer)]);
      // That took time, in which the destination may have changed: its old password must not go out any more.
      if (this.#parts.table.ofId(current.id) !== current) return await this.answer(listenerId);
      return [
        ...identity(current),
        ...shortest([...to, ...login, ['keep', `${secondsTo(until)}`]]),
        ...demands(current),
        ...limits(current, this.#parts.workers),
      ];
    } catch (error) {
      return failureAnswer(error, route?.listener.destination);
    }
  }

  /** POST /v1/exchanges. Never throws. */
  async exchange({ routeId, user, token }: Exchange): Promise<Line[] | undefined> {
    const route = this.#parts.table.ofId(routeId);
    if (!route) return undefined;
    try {
      const { current, issuer } = await this.#current(route.listenerId);
      if (current.id !== routeId) return undefined;
      if (!issuer?.exchange)
        throw new Failure('token', 'this destination takes no token of the application', { retry: false });
      const access = await issuer.exchange(user, token);
      // That took time, in which the destination may have changed: its token must not go to the old server.
      if (this.#parts.table.ofId(routeId) !== current) return undefined;
      return [
        ['route', routeId],
        ...bearerLines(user, access.value, serverOf(current)),
        ['grant', this.#grants.idOf(access)],
      ];
    } catch (error) {
      return failureAnswer(asLogin(error), route.listener.destination);
    }
  }

  /** POST /v1/rejections: what to try next. Nothing for a password. Never throws. */
  async rejected({ routeId, grant, exchange }: Rejection): Promise<Line[] | undefined> {
    const route = this.#parts.table.ofId(routeId);
    if (!route) return undefined;
    // At once, and before anything is awaited or told: whoever asks next must not get the same token again.
    const refused = grant === undefined ? undefined : this.#grants.tokenOf(grant);
    if (refused !== undefined) this.#parts.refused(refused);
    if (destinationOf(route)?.login.kind !== 'oauth') return [];
    // It must not stay with Envoy's other workers either.
    if (grant !== undefined && !exchange) this.#parts.onChange(route.listenerId);
    return exchange ? await this.exchange(exchange) : await this.answer(route.listenerId);
  }

  /** The route as the sources have it now, which may be another one than a moment ago. */
  async #current(
    listenerId: string,
  ): Promise<{ current: Route; issuer: TokenIssuer | undefined; until: number | undefined }> {
    const route = this.#parts.table.ofListener(listenerId);
    if (!route) throw new Failure('unknown_destination', 'this listener is not configured (any more)');
    const { destination: served, issuer, until } = await this.#parts.served(route);
    const current = this.#parts.table.serve(route, served);
    if (!current) return await this.#current(listenerId);
    if (current.id !== route.id) this.#parts.onChange(listenerId);
    const destination = destinationOf(current);
    return { current, issuer: issuer ?? (destination && this.#parts.issuer(current, destination)), until };
  }

  async #login(route: Route, issuer: TokenIssuer | undefined): Promise<Line[]> {
    const { login, hello, mechanisms, capabilities } = known(route);
    const common: Line[] = [
      ...(capabilities ? [['capabilities', capabilities] as Line] : []),
      ...(route.protocol === 'smtp' ? [['hello', hello ?? OWN_NAME] as Line] : []),
      ...(mechanisms ? [['mechanisms', mechanisms.join(' ')] as Line] : []),
    ];
    if (login.kind === 'none') return [['login', 'none'], ...common];
    if (login.kind === 'oauth') return [...(await this.#tokenLogin(route, issuer)), ...common];
    const { user, password } = login;
    return [['login', 'basic'], ['user', user], ['password', password], ['plain', `\0${user}\0${password}`], ...common];
  }

  async #tokenLogin(route: Route, issuer: TokenIssuer | undefined): Promise<Line[]> {
    const { login } = known(route);
    if (login.kind !== 'oauth' || !issuer) throw new Failure('internal', 'this destination has no source of tokens');
    // With a login of its own that the listener demands, an app can't bring a token as well.
    const brings: Line[] =
      login.grant === 'client_credentials' || !issuer.exchange || route.listener.app ? [] : [['brings', login.grant]];
    if (!issuer.silent) {
      if (brings.length > 0 && !route.listener.greeting) return [['login', 'exchange'], ...brings];
      throw new Failure(
        'internal',
        'applications must bring a token here, so neither app nor greeting: preauth can be',
      );
    }
    if (login.user === undefined) throw new Failure('internal', 'mail.user is missing');
    const access = await issuer.silent().catch((error) => {
      // A grant of `postern login` that has ended is no matter for apps that bring a token of their own.
      if (brings.length === 0 || route.listener.greeting || !isLasting(error)) throw error;
      this.#parts.onDeadGrant?.(route.listener.destination, error.message);
      return undefined;
    });
    if (!access) return [['login', 'exchange'], ...brings, ['keep', `${KEEP_DEAD_GRANT}`]];
    return [
      ['login', 'bearer'],
      ...bearerLines(login.user, access.value, serverOf(route)),
      ...brings,
      ['grant', this.#grants.idOf(access)],
      ['keep', `${secondsLeft(access)}`],
    ];
  }
}

function known(route: Route): Destination {
  const destination = destinationOf(route);
  if (!destination) {
    throw new Failure('unknown_destination', `there is no destination "${route.listener.destination}"`);
  }
  if (destination.protocol !== route.protocol) {
    throw new Failure('unknown_destination', `it speaks ${destination.protocol}, this listener ${route.protocol}`);
  }
  return destination;
}

function serverOf(route: Route): { host: string; port: number } {
  const { host, port } = known(route);
  return { host, port };
}

/** A token is kept by the filter no longer than until half a minute before its end. */
function secondsLeft({ expiresAt }: AccessToken): number {
  return Math.max(0, Math.floor((expiresAt - Date.now()) / 1000) - 30);
}

function secondsTo(until = Number.POSITIVE_INFINITY): number {
  return Math.max(0, Math.floor((until - Date.now()) / 1000));
}

/** An answer is kept for as long as the shortest-lived of its parts. */
function shortest(lines: Line[]): Line[] {
  const keep = Math.min(KEEP_RELAY, ...lines.filter(([key]) => key === 'keep').map(([, seconds]) => Number(seconds)));
  return [...lines.filter(([key]) => key !== 'keep'), ['keep', `${keep}`]];
}

/** What the app presented is spent or wrong for good: an authentication error, which does not invite the same again. */
function asLogin(error: unknown): unknown {
  return isLasting(error) ? new Failure('rejected', error.message, { cause: error }) : error;
}

function isLasting(error: unknown): error is Failure {
  return error instanceof Failure && error.code === 'token' && !error.retry;
}

function failureAnswer(error: unknown, destination: string | undefined): Line[] {
  const { code, message } = error instanceof Failure ? error : new Failure('internal', 'sidecar-auth has a fault');
  const lines: Line[] = [
    ['failure', code],
    ['text', clean(message, TEXT_LIMIT)],
  ];
  return destination === undefined ? lines : [...lines, ['destination', clean(destination, 128)]];
}

/** Envoy can't begin TLS in the middle (STARTTLS), speaks no SOCKS5 with a token, and has no cluster that trusts everyone. */
export function goesByRelay({ onPremise, starttls, tls, verify }: Destination): boolean {
  return onPremise || starttls || (tls && !verify);
}

async function leadsTo(route: Route, resolve: Resolve): Promise<Line[]> {
  const destination = known(route);
  if (destination.onPremise && !route.connectivity) throw new Failure('internal', 'connectivity is not configured');
  if (goesByRelay(destination)) {
    return [
      ['to', 'relay'],
      ['keep', `${KEEP_RELAY}`],
    ];
  }
  const { addresses, keep } = await timed('resolve', destination.name, () => resolve(destination.host));
  return [
    ['to', 'direct'],
    ...addresses.map((address): Line => ['address', hostPort(address, destination.port)]),
    ...tlsName(destination),
    ...(destination.preconnect ? [['preconnect', 'yes'] as Line] : []),
    ['keep', `${keep}`],
  ];
}

function tlsName({ tls, host }: Destination): Line[] {
  if (!tls) return [];
  return [[isIP(host) ? 'san' : 'sni', host]];
}

function identity({ id, listener }: Route): Line[] {
  return [
    ['route', id],
    ['destination', clean(listener.destination, 128)],
  ];
}

/**
 * RFC 5321 4.1.4: a domain name, or an address literal where there is none; a bare host name is neither. Asked once: it is a system
 * call, and the relay needs it for every connection.
 */
export const OWN_NAME = /^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(hostname()) ? hostname() : '[127.0.0.1]';

function demands({ listener: { app, greeting }, protocol }: Route): Line[] {
  const lines: Line[] = app
    ? [
        ['app.user', app.user],
        ['app.password', app.password],
      ]
    : [];
  return greeting && protocol === 'imap' ? [...lines, ['greeting', greeting]] : lines;
}

/** The contract's range of a deadline. */
const DEADLINE = { least: 1_000, most: 600_000 };

/** Milliseconds: what the destination says (mail.<proto>.timeout), else what FILE says. */
export function deadlineOf(route: Route): number {
  const wanted = destinationOf(route)?.timeoutMs ?? route.loginTimeout * 1000;
  return Math.min(DEADLINE.most, Math.max(DEADLINE.least, wanted));
}

/** Envoy's workers count for themselves; rounded up, so that a limit smaller than their number lets one in on each. */
function limits(route: Route, workers: number): Line[] {
  return [
    ['deadline', `${deadlineOf(route)}`],
    ['limit', `${Math.ceil(route.listener.maxConnections / workers)}`],
  ];
}
