import { randomBytes } from 'node:crypto';
import { hostname, networkInterfaces } from 'node:os';
import { parseArgs } from 'node:util';
import { type HostPort, readHostPort } from '../../config/address.ts';
import { OBSERVE_ADDRESS } from '../../config/observe.ts';
import type { Scope } from '../resource.ts';
import type { Range } from './ports.ts';
import type { Settings } from './settings.ts';

export interface Options {
  settings: Settings;
  /** Label selector of namespaces; absent: all. */
  managedNamespaces?: string;
  /** The gateways' postern.yaml without its listeners. */
  config?: string;
  /** Where health and metrics are served. */
  observe?: HostPort;
  lease: { name: string; namespace: string };
  /** In the Lease; different for each process. */
  identity: string;
}

/** All words have a default but --gateway-namespace. @throws Error, for people */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      'gateway-namespace': { type: 'string' },
      'gateway-selector': {
        type: 'string',
        default: 'app.kubernetes.io/name=postern,app.kubernetes.io/component=gateway',
      },
      'managed-namespaces': { type: 'string', default: 'all' },
      'default-scope': { type: 'string', default: 'namespaced' },
      'cluster-domain': { type: 'string', default: 'cluster.local' },
      ports: { type: 'string', default: '20000-29999' },
      istio: { type: 'boolean', default: false },
      config: { type: 'string' },
      observe: { type: 'string' },
      lease: { type: 'string', default: 'postern-operator' },
    },
  });
  const gatewayNamespace = values['gateway-namespace'];
  if (!gatewayNamespace) throw new Error('needed: --gateway-namespace NAMESPACE, where the pods of the gateway are');
  const managed = values['managed-namespaces'];
  return {
    settings: {
      gatewayNamespace,
      gatewaySelector: readLabels(values['gateway-selector']),
      clusterDomain: values['cluster-domain'],
      defaultScope: readScope(values['default-scope']),
      ports: readRange(values.ports),
      istio: values.istio,
    },
    ...(managed !== 'all' && { managedNamespaces: managed }),
    ...(values.config !== undefined && { config: values.config }),
    ...(values.observe !== undefined && { observe: readObserve(values.observe) }),
    lease: { name: values.lease, namespace: gatewayNamespace },
    identity: `${hostname()}_${randomBytes(4).toString('hex')}`,
  };
}

function readLabels(text: string): Record<string, string> {
  const pairs = text.split(',').map((pair) => pair.split('='));
  if (!pairs.every(([key, value]) => key && value !== undefined))
    throw new Error('--gateway-selector must be like a=b,c=d');
  return Object.fromEntries(pairs);
}

/** `:9494` is every address: of both families, where the machine has IPv6. */
function readObserve(text: string): HostPort {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'));
  const whole = text.startsWith(':') ? `${hasIpv6 ? '[::]' : '0.0.0.0'}${text}` : text;
  const found = readHostPort(whole, OBSERVE_ADDRESS, (mistake) => {
    throw new Error(`--observe ${mistake}`);
  });
  return found ?? { host: '', port: 0 };
}

function readScope(text: string): Scope {
  if (text === 'namespaced' || text === 'clusterWide') return text;
  throw new Error('--default-scope must be namespaced or clusterWide');
}

/** Ports below 1024 are not for a process without rights. */
function readRange(text: string): Range {
  const [first = 0, last = 0] = text.split('-').map(Number);
  if (!(first >= 1024 && last <= 65535 && first <= last)) throw new Error('--ports must be like 20000-29999');
  return { first, last };
}
