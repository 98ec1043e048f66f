import type { Destination } from '../destination/destination.ts';
import type { RelayTarget, Security } from '../relay-target.ts';
import { deadlineOf, goesByRelay, OWN_NAME } from './session.ts';
import { destinationOf, type Route, type RouteTable } from './table.ts';

/** The relay's share of the login deadline, so that its own error reaches the app before the filter's deadline does. */
const CONNECT_SHARE = 0.75;

/** What the relay needs to know; `undefined` where the route id is not a current one, or does not lead to the relay. */
export function relayTarget(table: RouteTable, routeId: string): RelayTarget | undefined {
  const route = table.ofId(routeId);
  const destination = destinationOf(route);
  if (!route || !destination || !goesByRelay(destination)) return undefined;
  const proxy = destination.onPremise ? proxyOf(route) : undefined;
  if (destination.onPremise && !proxy) return undefined;
  const { name, protocol, host, port, location, preconnect, hello } = destination;
  const tenant = route.listener.service?.tenant;
  return {
    destination: name,
    ...(tenant !== undefined && { tenant }),
    protocol,
    host,
    port,
    ...(location !== undefined && { location }),
    connectTimeoutMs: Math.min(
      destination.connectTimeoutMs ?? Number.POSITIVE_INFINITY,
      deadlineOf(route) * CONNECT_SHARE,
    ),
    ...(proxy && { proxy }),
    security: securityOf(destination),
    ...(preconnect && { preconnect }),
    hello: hello ?? OWN_NAME,
  };
}

/** The token is the tenant's: with another's, its tunnel would be used. */
function proxyOf({ connectivity, listener }: Route): RelayTarget['proxy'] {
  const tenant = listener.service?.tenant;
  if (connectivity?.token.kind !== 'binding' || tenant === undefined) return connectivity;
  return { ...connectivity, token: { ...connectivity.token, tenant } };
}

function securityOf({ tls, starttls, host, verify }: Destination): Security {
  if (tls) return { kind: 'tls', name: host, verify };
  return starttls ? { kind: 'starttls', name: host, verify } : { kind: 'none' };
}
