import {
  BUFFER_OCTETS,
  HELPER_IDLE_SECONDS,
  KEEPALIVE_SECONDS,
  MAX_CLUSTER_CONNECTIONS,
  PRECONNECT_RATIO,
} from './limits.ts';

const TYPE = 'type.googleapis.com/envoy';

/** Connecting to a Unix socket on this machine takes microseconds or fails; one second covers a stopped process. */
const LOCAL_CONNECT_TIMEOUT = '1s';

export interface ClusterOptions {
  /** For TCP and TLS together, each attempt. */
  connectTimeoutSeconds: number;
  /** PEM file with the CAs that direct TLS trusts. */
  caFile: string;
  relaySocket: string;
  helperSocket: string;
}

/** What every proxy with the filter must have, whoever configures it; the fallback's clusters are beside its listeners. */
export function clusters({ connectTimeoutSeconds, caFile, relaySocket, helperSocket }: ClusterOptions): object[] {
  return [
    directCluster(connectTimeoutSeconds),
    directTlsCluster(connectTimeoutSeconds, caFile),
    directCluster(connectTimeoutSeconds, true),
    directTlsCluster(connectTimeoutSeconds, caFile, true),
    relayCluster(relaySocket),
    helperCluster(helperSocket),
    blackholeCluster(),
  ];
}

/** ORIGINAL_DST: the filter sets the address in the connection's filter state; there is no cluster per destination. */
export function directCluster(connectTimeoutSeconds: number, preconnect = false): object {
  return {
    name: `postern-direct${preconnect ? '-preconnect' : ''}`,
    type: 'ORIGINAL_DST',
    lb_policy: 'CLUSTER_PROVIDED',
    connect_timeout: `${connectTimeoutSeconds}s`,
    ...(preconnect
      ? // Half as many again as are in use, and so at least one: a session finds TCP, TLS and greeting done.
        { preconnect_policy: { per_upstream_preconnect_ratio: PRECONNECT_RATIO } }
      : // In a shared pool one failed connect fails every session that waits for the same host.
        { connection_pool_per_downstream_connection: true }),
    upstream_connection_options: { tcp_keepalive: { keepalive_time: KEEPALIVE_SECONDS } },
    ...limits(),
  };
}

/** The same with implicit TLS. */
export function directTlsCluster(connectTimeoutSeconds: number, caFile: string, preconnect = false): object {
  return {
    ...directCluster(connectTimeoutSeconds, preconnect),
    name: `postern-direct-tls${preconnect ? '-preconnect' : ''}`,
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
        // The filter sets the real SNI, and the certificate is checked against it. Without a static one, a connection with
        // no SNI in its filter state would not be checked for a name at all; this name is in no certificate (RFC 6761 6.4).
        sni: 'unset.invalid',
        auto_sni_san_validation: true,
        common_tls_context: { validation_context: { trusted_ca: { filename: caFile } } },
      },
    },
  };
}

/** sidecar-auth's relay: each connection starts with a PROXY protocol v2 header whose TLV 0xE0 holds the route id. */
function relayCluster(socket: string): object {
  return {
    ...pipeCluster('postern-relay', socket),
    // As for direct clusters; here also because each connection has a header of its own.
    connection_pool_per_downstream_connection: true,
    transport_socket: {
      name: 'envoy.transport_sockets.upstream_proxy_protocol',
      typed_config: {
        '@type': `${TYPE}.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`,
        config: {
          version: 'V2',
          added_tlvs: [
            {
              type: 0xe0,
              format_string: { text_format_source: { inline_string: '%FILTER_STATE(mail.route:PLAIN)%' } },
            },
          ],
        },
        transport_socket: {
          name: 'envoy.transport_sockets.raw_buffer',
          typed_config: { '@type': `${TYPE}.extensions.transport_sockets.raw_buffer.v3.RawBuffer` },
        },
      },
    },
  };
}

/** sidecar-auth's HTTP contract. */
function helperCluster(socket: string): object {
  return {
    ...pipeCluster('postern-helper', socket),
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        common_http_protocol_options: { idle_timeout: `${HELPER_IDLE_SECONDS}s` },
        explicit_http_config: { http_protocol_options: {} },
      },
    },
  };
}

/** tcp_proxy's default: no hosts, so that a connection without a route reaches nothing. */
function blackholeCluster(): object {
  return { name: 'postern-blackhole', type: 'STATIC', connect_timeout: LOCAL_CONNECT_TIMEOUT, ...limits() };
}

export function pipeCluster(name: string, path: string): object {
  return {
    name,
    type: 'STATIC',
    connect_timeout: LOCAL_CONNECT_TIMEOUT,
    ...limits(),
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}

/** Set on every cluster in so many words: above Envoy's defaults (1,024 of each) it closes sessions without a byte. */
function limits(): object {
  return {
    per_connection_buffer_limit_bytes: BUFFER_OCTETS,
    circuit_breakers: {
      thresholds: [
        {
          max_connections: MAX_CLUSTER_CONNECTIONS,
          max_pending_requests: MAX_CLUSTER_CONNECTIONS,
          max_requests: MAX_CLUSTER_CONNECTIONS,
          max_retries: MAX_CLUSTER_CONNECTIONS,
        },
      ],
    },
  };
}
