// Where tcp_proxy connects: filter state that it reads at each attempt (docs/contract.md, names in Envoy).
import { Route } from './contract';
import { property, setFilterState, setProperty } from './host/host';
import { Bytes } from './protocol/bytes';

const CLUSTER = 'envoy.tcp_proxy.cluster';
const ADDRESS = 'envoy.network.transport_socket.original_dst_address';
const SERVER_NAME = 'envoy.network.upstream_server_name';
const SUBJECT_NAMES = 'envoy.network.upstream_subject_alt_names';
const FALLBACK = 'postern-fallback-';

/** Points the acting connection at the route's server. False: Envoy took it not, and nothing may be sent. */
export function pointAt(route: Route): bool {
  if (route.relay) return setProperty(Bytes.of('mail_route'), route.id) && setCluster('postern-relay');
  // The address first: an ORIGINAL_DST cluster without one dials what the app dialled.
  if (!pointAtAddress(route, 0)) return false;
  // Only one of the two: a subject name replaces the check of the server name, and an IP literal can't be a server name.
  if (route.sni.length > 0 && !setFilterState(Bytes.of(SERVER_NAME), route.sni)) return false;
  if (route.sni.length == 0 && route.san.length > 0 && !setFilterState(Bytes.of(SUBJECT_NAMES), route.san))
    return false;
  return setCluster(route.tls ? 'postern-direct-tls' : 'postern-direct');
}

/** The next attempt goes to the route's address with this index; false where there is none. */
export function pointAtAddress(route: Route, index: i32): bool {
  return index < route.addresses.length && setFilterState(Bytes.of(ADDRESS), route.addresses[index]);
}

/** Envoy's own listener that says one protocol error. */
export function pointAtFallback(protocol: Bytes): void {
  setFilterState(Bytes.of(CLUSTER), Bytes.of(FALLBACK).append(protocol));
}

function setCluster(name: string): bool {
  return setFilterState(Bytes.of(CLUSTER), Bytes.of(name));
}

/** Whether what answers the acting connection is the fallback. */
export function isAtFallback(): bool {
  return property(Bytes.of('xds').push(0).text('cluster_name').push(0)).startsWith(FALLBACK);
}

/** Attempts that tcp_proxy has begun for the acting connection. */
export function attempts(): i32 {
  const value = property(Bytes.of('upstream').push(0).text('request_attempt_count').push(0));
  return value.at(0);
}

/** Envoy's own words on why the last attempt failed; often empty. */
export function connectFailure(): string {
  return property(Bytes.of('upstream').push(0).text('transport_failure_reason').push(0)).toString();
}
