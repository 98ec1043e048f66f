/**
 * Envoy's bootstrap as istio-agent fills it in (Go's text/template): node, admin, and the agent's two Unix sockets for configuration and certificates. What istio-proxy's own has
 * beside that is about metrics and tracing.
 */
export function bootstrapTemplate(): string {
  const text = JSON.stringify({
    node: { id: '{{ .nodeID }}', cluster: '{{ .cluster }}', metadata: METADATA },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: ADMIN_PORT } } },
    bootstrap_extensions: [INTERNAL_LISTENER],
    dynamic_resources: {
      lds_config: BY_ADS,
      cds_config: BY_ADS,
      ads_config: {
        api_type: '{{ .xds_type }}',
        set_node_on_first_message_only: true,
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
      },
    },
    static_resources: {
      clusters: [
        grpc('xds-grpc', '{{ .config.ConfigPath }}/XDS'),
        grpc('sds-grpc', './var/run/secrets/workload-spiffe-uds/{{ .workload_identity_socket_file }}'),
      ],
    },
  });
  return text.replace(JSON.stringify(METADATA), '{{ .meta_json_str }}');
}

export const ADMIN_PORT = 15_000;

/** The agent's is JSON, not a text. */
const METADATA = 'METADATA';

const BY_ADS = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' };

/** istiod's clusters may lead to listeners inside of Envoy. */
const INTERNAL_LISTENER = {
  name: 'envoy.bootstrap.internal_listener',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener',
  },
};

function grpc(name: string, path: string): object {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  };
}
