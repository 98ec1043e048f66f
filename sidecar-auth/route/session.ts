import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { hostPort } from '../config/address.ts';
import type { Line } from '../contract/lines.ts';
import type { Destination } from '../destination/destination.ts';
import { clean, Failure } from '../failure.ts';
import type { RelayTarget } from '../relay-target.ts';
import type { Resolve } from './resolve.ts';
import type { Route, RouteTable } from './table.ts';

/** Seconds for which a relay route may be kept: no address in it can grow old, and changes are pushed. The contract's longest. */
const KEEP_RELAY = 120;
/** Octets of a failure's text (contract). */
const TEXT_LIMIT = 160;
/** The relay's share of the login deadline, so that its own error reaches the app before the filter's deadline does. */
const CONNECT_SHARE = 0.75;

/** The answer to POST /v1/sessions: a route and a login, or a failure. Never throws. */
export async function sessionAnswer(
  table: RouteTable,
  listenerId: string,
  resolve: Resolve,
  workers: number,
): Promise<Line[]> {
  const route = table.ofListener(listenerId);
  try {
    if (!route) throw new Failure('unknown_destination', 'this listener is not configured (any more)');
    const to = await leadsTo(route, resolve);
    // Looking up the name took time, in which the destination may have changed: its old password must not go out any more.
    if (table.ofId(route.id) !== route) return await sessionAnswer(table, listenerId, resolve, workers);
    return [...to, ...identity(route), ...login(route), ...demands(route), ...limits(route, workers)];
  } catch (error) {
    return failureAnswer(error, route?.listener.destination);
  }
}

function failureAnswer(error: unknown, destination: string | undefined): Line[] {
  const { code, message } = error instanceof Failure ? error : new Failure('internal', 'sidecar-auth has a fault');
  const lines: Line[] = [
    ['failure', code],
    ['text', clean(message, TEXT_LIMIT)],
  ];
  return destination === undefined ? lines : [...lines, ['destination', clean(destination, 128)]];
}

async function leadsTo(route: Route, resolve: Resolve): Promise<Line[]> {
  const { destination, connectivity, listener } = route;
  if (!destination) throw new Failure('unknown_destination', `there is no destination "${listener.destination}"`);
  if (destination.onPremise) {
    if (!connectivity) throw new Failure('internal', 'connectivity is not configured');
    return [
      ['to', 'relay'],
      ['keep', `${KEEP_RELAY}`],
    ];
  }
  const { addresses, keep } = await resolve(destination.host);
  return [
    ['to', 'direct'],
    ...addresses.map((address): Line => ['address', hostPort(address, destination.port)]),
    ...tlsName(destination),
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
    ['destination', listener.destination],
  ];
}

function login({ destination, protocol }: Route): Line[] {
  const hello: Line[] = protocol === 'smtp' ? [['hello', destination?.hello ?? ownName()]] : [];
  if (!destination?.login) return [['login', 'none'], ...hello];
  const { user, password } = destination.login;
  return [['login', 'basic'], ['user', user], ['password', password], ['plain', `\0${user}\0${password}`], ...hello];
}

/** RFC 5321 4.1.4: a domain name, or an address literal where there is none; a bare host name is neither. */
function ownName(): string {
  const name = hostname();
  return /^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(name) ? name : '[127.0.0.1]';
}

function demands({ listener: { app, greeting }, protocol }: Route): Line[] {
  const lines: Line[] = app
    ? [
        ['app.user', app.user],
        ['app.password', app.password],
      ]
    : [];
  return greeting && protocol === 'imap' ? [...lines, ['greeting', greeting]] : lines;
}

/** Envoy's workers count for themselves; rounded up, so that a limit smaller than their number lets one in on each. */
function limits({ listener, loginTimeout }: Route, workers: number): Line[] {
  return [
    ['deadline', `${loginTimeout * 1000}`],
    ['limit', `${Math.ceil(listener.maxConnections / workers)}`],
  ];
}

/** What the relay needs to know; `undefined` where the route id is not a current one, or does not lead to the relay. */
export function relayTarget(table: RouteTable, routeId: string): RelayTarget | undefined {
  const { destination, connectivity, loginTimeout } = table.ofId(routeId) ?? {};
  if (!destination?.onPremise || !connectivity || loginTimeout === undefined) return undefined;
  const { name, protocol, host, port, location } = destination;
  return {
    destination: name,
    protocol,
    host,
    port,
    ...(location !== undefined && { location }),
    connectTimeoutMs: loginTimeout * 1000 * CONNECT_SHARE,
    proxy: connectivity,
  };
}
