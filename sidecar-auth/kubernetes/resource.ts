import { createHash } from 'node:crypto';
import type { Protocol } from '../failure.ts';

/** Why a group of our own, with SAP's names in `spec`: docs/decisions/0012-kubernetes-group.md. */
export const GROUP = 'destination.connectivity.postern.dev';
export const VERSION = 'v1';
export const API_VERSION = `${GROUP}/${VERSION}`;
export const KIND = 'Destination';
export const PLURAL = 'destinations';

/** A JSON array of subscribers' subdomains: ours, and the one that SAP's users have already. Ours wins. */
export const TENANTS_ANNOTATION = 'connectivity.postern.dev/tenant-subdomains';
export const SAP_TENANTS_ANNOTATION = 'transparent-proxy.connectivity.api.sap/tenant-subdomains';

/** On all objects that the operator makes. */
export const MANAGED_BY = { 'app.kubernetes.io/managed-by': 'postern-operator' };
/** Likewise; its value is the gateway's namespace, for two installations may share a cluster. */
export const INSTALLATION_LABEL = 'connectivity.postern.dev/gateway-namespace';
/** `namespace/name` of the resource that an object is for: owner references can't point to another namespace. */
export const OWNER_ANNOTATION = 'connectivity.postern.dev/destination';
/** Of a subscriber's Service in the gateway's namespace. */
export const TENANT_ANNOTATION = 'connectivity.postern.dev/tenant';

export type Level = 'subaccount' | 'instance' | 'provider_subaccount' | 'provider_instance';
export type Scope = 'namespaced' | 'clusterWide';
export type Mode = 'gateway' | 'istio';

/** What the user writes. The schema (envoy/helm/postern/crds/destination.yaml) has the same and refuses everything else. */
export interface DestinationSpec {
  /** A destination of the Destination service. Exactly one of this, and secretRef or configMapRef, is there. */
  destinationRef?: { name: string; level?: Level };
  fragmentRef?: { name: string; level?: Level; optional?: boolean };
  chainRef?: { name: string; variables?: { name: string; value: string }[] };
  /** Which instance of the Destination service; by default the first. */
  destinationServiceInstanceName?: string;
  /**
   * A plain destination: one key per property, in the Destination service's own names, in the resource's own namespace. Where both stand, the Secret's keys are
   * added to the ConfigMap's, and win.
   */
  secretRef?: { name: string };
  configMapRef?: { name: string };
  /** Where it is missing, the operator asks the Destination service and writes it into the status. */
  protocol?: Protocol;
  /** Of the Service that apps use. */
  service?: { port?: number };
  accessControl?: { scope?: Scope };
  /** Whose pods may use it beside those of its own namespace. */
  allowedNamespaces?: string[];
  /** Keys `user` and `password`: what apps must log in with. */
  app?: { secretRef: { name: string } };
  greeting?: 'preauth';
  /** Connections at once, for each gateway pod. */
  maxConnections?: number;
  mode?: Mode;
  /** Mode istio: the pods of this namespace whose proxies get the filter, as sidecars (by default) or as an egress gateway. */
  workloadSelector?: { matchLabels: Record<string, string>; kind?: 'sidecar' | 'egress' };
}

/** One Service that apps use, and the port of the gateway's pods behind it. */
export interface DestinationPort {
  tenant?: string;
  port: number;
  /** The Service's name in the resource's namespace. */
  service: string;
}

export interface Condition {
  type: 'Available';
  status: 'True' | 'False';
  reason: Reason;
  message: string;
  observedGeneration: number;
  lastTransitionTime: string;
}

/** SAP's reasons, as far as they can occur here. */
export type Reason =
  | 'ConfigurationSuccessful'
  | 'ConfigurationError-ReferencedDestination-NotFound'
  | 'ConfigurationError-ReferencedDestination-TypeNotSupported'
  | 'ConfigurationError-ReferencedDestination-ProxyTypeNotSupported'
  | 'ConfigurationError-DuplicateDestinationCustomResource'
  | 'ConfigurationError-MultitenancyAnnotation-Invalid'
  | 'ConfigurationError-K8sResourceWithNameAlreadyPresent'
  | 'FailedToApplyConfiguration';

/** What the operator writes. A gateway opens a listener for each of `ports`, and for nothing else; in mode istio there are none. */
export interface DestinationStatus {
  observedGeneration?: number;
  protocol?: Protocol;
  /** Of the Services. */
  servicePort?: number;
  /** The first Service, as `name.namespace`. */
  service?: string;
  ports?: DestinationPort[];
  conditions?: Condition[];
}

export interface Destination {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    generation?: number;
    resourceVersion?: string;
    creationTimestamp?: string | Date;
    deletionTimestamp?: string | Date;
    finalizers?: string[];
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
  };
  spec: DestinationSpec;
  status?: DestinationStatus;
}

/** The key of a resource in maps and queues, and its name in logs and events. */
export function keyOf({ metadata }: { metadata: { name?: string; namespace?: string } }): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Undefined where neither the user nor the operator has said it yet. */
export function protocolOf({ spec, status }: Destination): Protocol | undefined {
  return spec.protocol ?? status?.protocol;
}

export function modeOf({ spec }: Destination): Mode {
  return spec.mode ?? 'gateway';
}

/** SAP's default ports, by mail.transport.protocol; a resource's own `protocol` has no `s`, for apps speak plain mail. */
export const SERVICE_PORTS = { smtp: 587, smtps: 465, imap: 143, imaps: 993, pop3: 110, pop3s: 995 } as const;

/** In mode istio the schema demands service.port: it must be the destination's own, for it is how the mesh's listeners are found. */
export function servicePort(spec: DestinationSpec, protocol: Protocol): number {
  return spec.service?.port ?? SERVICE_PORTS[protocol];
}

/** What users must mend; the text goes into the resource's status. */
export class ResourceMistake extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, text: string) {
    super(text);
    this.name = 'ResourceMistake';
    this.reason = reason;
  }
}

/** A host name's label, for it becomes one in XSUAA's address and in the Service's name. */
const SUBDOMAIN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 1035 section 2.3.4: names of Services are labels. */
const LABEL_OCTETS = 63;

/**
 * The subscribers' subdomains; `[undefined]` for a resource without the annotation.
 * @throws ResourceMistake where the annotation is not what it must be
 */
export function tenantsOf({ metadata }: Destination): (string | undefined)[] {
  const annotations = metadata.annotations ?? {};
  const key = annotations[TENANTS_ANNOTATION] === undefined ? SAP_TENANTS_ANNOTATION : TENANTS_ANNOTATION;
  const text = annotations[key];
  if (text === undefined) return [undefined];
  const tenants = parsed(text);
  const isRight =
    Array.isArray(tenants) &&
    tenants.length > 0 &&
    new Set(tenants).size === tenants.length &&
    tenants.every(
      (tenant) =>
        typeof tenant === 'string' &&
        SUBDOMAIN.test(tenant) &&
        serviceName(metadata.name, tenant).length <= LABEL_OCTETS,
    );
  if (isRight) return tenants;
  throw new ResourceMistake(
    'ConfigurationError-MultitenancyAnnotation-Invalid',
    `the annotation ${key} must be a JSON array of different subdomains in lower case, like '["one", "two"]'; ` +
      `with the resource's name before it, each may have ${LABEL_OCTETS} characters`,
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The Service in the resource's own namespace: SAP's `<name>` or `<name>-<tenant>`. */
export function serviceName(name: string, tenant: string | undefined): string {
  return tenant === undefined ? name : `${name}-${tenant}`;
}

/**
 * The Service in the gateway's namespace. Hyphens may stand everywhere in namespaces, names and tenants; what keeps `a-b/c` and `a/b-c` apart,
 * and long names whole, is the hash.
 */
export function gatewayServiceName(namespace: string, name: string, tenant: string | undefined): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([namespace, name, tenant ?? null]))
    .digest('hex')
    .slice(0, 10);
  const readable = `to-${namespace}-${serviceName(name, tenant)}`.slice(0, LABEL_OCTETS - 11).replace(/-+$/, '');
  return `${readable}-${hash}`;
}
