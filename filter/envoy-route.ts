// Where tcp_proxy connects: filter state that it reads at each attempt (docs/contract.md, names in Envoy).
import { Route } from './contract';
import { EnvoyRoute, FALLBACK } from './filter-state';
import { property, setFilterState, setProperty } from './host/host';
import { Bytes } from './protocol/bytes';

const RELAY_ROUTE: Bytes = Bytes.of('mail_route');
const CLUSTER_NAME: Bytes = Bytes.of('xds').push(0).text('cluster_name').push(0);
const ATTEMPTS: Bytes = Bytes.of('upstream').push(0).text('request_attempt_count').push(0);
const FAILURE_REASON: Bytes = Bytes.of('upstream').push(0).text('transport_failure_reason').push(0);

function asTold(route: Route): EnvoyRoute {
  let told = route.envoy;
  if (told == null) {
    told = new EnvoyRoute(route);
    route.envoy = told;
  }
  return told;
}

/** Points the acting connection at the route's server. False: Envoy took it not, and nothing may be sent. */
export function pointAt(route: Route): bool {
  const told = asTold(route);
  if (route.relay) return setProperty(RELAY_ROUTE, route.id) && setFilterState(told.cluster);
  // The address first: an ORIGINAL_DST cluster without one dials what the app dialled.
  if (!pointAtAddress(route, 0)) return false;
  const name = told.name;
  if (name != null && !setFilterState(name)) return false;
  return setFilterState(told.cluster);
}

/** The next attempt goes to the route's address with this index; false where there is none. */
export function pointAtAddress(route: Route, index: i32): bool {
  const addresses = asTold(route).addresses;
  return index < addresses.length && setFilterState(addresses[index]);
}

/** Whether what answers the acting connection is the fallback. */
export function isAtFallback(): bool {
  return property(CLUSTER_NAME).startsWith(FALLBACK);
}

/** Attempts that tcp_proxy has begun for the acting connection. */
export function attempts(): i32 {
  return property(ATTEMPTS).at(0);
}

/** Envoy's own words on why the last attempt failed; often empty. */
export function connectFailure(): string {
  return property(FAILURE_REASON).toString();
}
