import { NATIVE_PROXY_ANNOTATION, SECRET_ANNOTATION, TEMPLATE, TEMPLATES_ANNOTATION } from './annotations.ts';
import type { Workload } from './envoy-filter.ts';
import type { Manifest } from './manifest.ts';
import { type MeshPort, portName } from './service.ts';

export interface EgressOptions {
  /** Of the Service that applications use, and of all that is made for it. */
  name: string;
  /** Of all of it, and of the gateway's pods. */
  namespace: string;
  ports: MeshPort[];
  /** Whose pods may use it. */
  allowedNamespaces: string[];
  clusterDomain?: string;
}

/** Seconds that sessions have to end when a gateway pod must go. */
const GRACE_SECONDS = 300;

/** The gateway's own Service, its Deployment and account, its label. */
const gatewayName = (name: string) => `${name}-egress`;

export function egressWorkload({ name, namespace }: Pick<EgressOptions, 'name' | 'namespace'>): Workload {
  return { name, namespace, labels: { istio: gatewayName(name) }, kind: 'egress' };
}

/**
 * The gateway's pods and the way to them. Applications go on to dial the Service `name`; their sidecars bring it here with mutual TLS, and whoever has no
 * certificate of the mesh, or one of another namespace, can't have the gateway log in.
 */
export function egressManifests(options: EgressOptions): Manifest[] {
  const { namespace, clusterDomain = 'cluster.local' } = options;
  const host = (name: string) => `${name}.${namespace}.svc.${clusterDomain}`;
  const hosts = { service: host(options.name), gateway: host(gatewayName(options.name)) };
  return [
    serviceAccount(options),
    deployment(options),
    gatewayService(options),
    gateway(options, hosts.service),
    virtualService(options, hosts),
    destinationRule(options, hosts),
    authorizationPolicy(options),
  ];
}

interface Hosts {
  service: string;
  gateway: string;
}

function serviceAccount({ name, namespace }: EgressOptions): Manifest {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: gatewayName(name), namespace } };
}

/** Istio's metrics call the pods by these. */
function inMetrics(name: string): Record<string, string> {
  return { 'app.kubernetes.io/name': gatewayName(name), 'service.istio.io/canonical-revision': 'latest' };
}

function deployment({ name, namespace, ports }: EgressOptions): Manifest {
  const { labels } = egressWorkload({ name, namespace });
  const annotations = {
    [TEMPLATES_ANNOTATION]: `gateway,${TEMPLATE}`,
    [NATIVE_PROXY_ANNOTATION]: 'false',
    [SECRET_ANNOTATION]: name,
    // A pod that must go ends when its last session does, and not after five seconds.
    'proxy.istio.io/config': JSON.stringify({ proxyMetadata: { EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true' } }),
  };
  const proxy = {
    name: 'istio-proxy',
    image: 'auto',
    ports: ports.map(({ port }) => ({ containerPort: port })),
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, runAsNonRoot: true },
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: gatewayName(name), namespace, labels },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels: { ...labels, ...inMetrics(name), 'sidecar.istio.io/inject': 'true' }, annotations },
        spec: {
          serviceAccountName: gatewayName(name),
          // istio-proxy has one of its own, for istiod only.
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: GRACE_SECONDS,
          containers: [proxy],
        },
      },
    },
  };
}

function gatewayService({ name, namespace, ports }: EgressOptions): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: gatewayName(name), namespace },
    spec: {
      ipFamilyPolicy: 'PreferDualStack',
      selector: egressWorkload({ name, namespace }).labels,
      // The EnvoyFilter goes by the port of the pod: the two are the same number.
      ports: ports.map(({ protocol, port }) => ({ name: portName(protocol, port), port, targetPort: port })),
    },
  };
}

function gateway({ name, namespace, ports }: EgressOptions, service: string): Manifest {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'Gateway',
    metadata: { name, namespace },
    spec: {
      selector: egressWorkload({ name, namespace }).labels,
      servers: ports.map(({ port, protocol }) => ({
        port: { number: port, name: `tls-${protocol}-${port}`, protocol: 'TLS' },
        hosts: [service],
        tls: { mode: 'ISTIO_MUTUAL' },
      })),
    },
  };
}

/** From sidecars to the gateway; at the gateway to the Service itself, for a listener comes of a route only. There the filter chooses. */
function virtualService({ name, namespace, ports }: EgressOptions, { service, gateway }: Hosts): Manifest {
  const route = (from: string, port: number, host: string) => ({
    match: [{ gateways: [from], port }],
    route: [{ destination: { host, port: { number: port } } }],
  });
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name, namespace },
    spec: {
      hosts: [service],
      gateways: ['mesh', name],
      tcp: ports.flatMap(({ port }) => [route('mesh', port, gateway), route(name, port, service)]),
    },
  };
}

/** Said for each port: between a sidecar and a gateway Istio does not choose mutual TLS by itself. */
function destinationRule({ name, namespace, ports }: EgressOptions, { service, gateway }: Hosts): Manifest {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: gatewayName(name), namespace },
    spec: {
      host: gateway,
      trafficPolicy: {
        portLevelSettings: ports.map(({ port }) => ({
          port: { number: port },
          tls: { mode: 'ISTIO_MUTUAL', sni: service },
        })),
      },
    },
  };
}

/** A denial and not a permission: a permission would also close what else the gateway may serve. */
function authorizationPolicy({ name, namespace, ports, allowedNamespaces }: EgressOptions): Manifest {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: gatewayName(name), namespace },
    spec: {
      selector: { matchLabels: egressWorkload({ name, namespace }).labels },
      action: 'DENY',
      rules: [
        {
          from: [{ source: { notNamespaces: allowedNamespaces } }],
          to: [{ operation: { ports: ports.map(({ port }) => String(port)) } }],
        },
      ],
    },
  };
}
