// What Envoy is told of a route: arguments of its foreign function `set_envoy_filter_state`, ready-made. Pure: no host calls here.
import { Route } from './contract';
import { Bytes } from './protocol/bytes';

const CLUSTER = 'envoy.tcp_proxy.cluster';
const ADDRESS = 'envoy.network.transport_socket.original_dst_address';
const SERVER_NAME = 'envoy.network.upstream_server_name';
const SUBJECT_NAMES = 'envoy.network.upstream_subject_alt_names';

/** Clusters whose listener says one protocol error begin with this; the protocol follows. */
export const FALLBACK = 'postern-fallback-';

/** A route as Envoy is told it, made once for all of its connections. */
export class EnvoyRoute {
  readonly addresses: Bytes[];
  /** Of the certificate, where there is TLS. */
  readonly name: Bytes | null;
  readonly cluster: Bytes;

  constructor(route: Route) {
    this.addresses = route.addresses.map<Bytes>((address) => filterState(ADDRESS, address));
    this.name = nameOf(route);
    this.cluster = filterState(CLUSTER, Bytes.of(clusterOf(route)));
  }
}

/** Only one of the two: a subject name replaces the check of the server name, and an IP literal can't be a server name. */
function nameOf(route: Route): Bytes | null {
  if (route.sni.length > 0) return filterState(SERVER_NAME, route.sni);
  return route.san.length > 0 ? filterState(SUBJECT_NAMES, route.san) : null;
}

function clusterOf(route: Route): string {
  if (route.relay) return 'postern-relay';
  const cluster = route.tls ? 'postern-direct-tls' : 'postern-direct';
  return route.preconnect ? `${cluster}-preconnect` : cluster;
}

/** Leads a connection to the fallback. */
export function fallbackOf(protocol: Bytes): Bytes {
  return filterState(CLUSTER, Bytes.of(FALLBACK).append(protocol));
}

/** A protobuf message {1: path, 2: value}. */
function filterState(key: string, value: Bytes): Bytes {
  const message = new Bytes();
  protobufField(message, 0x0a, Bytes.of(key));
  protobufField(message, 0x12, value);
  return message;
}

function protobufField(message: Bytes, tag: i32, value: Bytes): void {
  message.push(tag);
  let length = value.length;
  for (; length >= 0x80; length >>= 7) message.push((length & 0x7f) | 0x80);
  message.push(length).append(value);
}
