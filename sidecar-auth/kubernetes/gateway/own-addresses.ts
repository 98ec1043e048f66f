import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Failure } from '../../failure.ts';
import type { Resolve } from '../../route/resolve.ts';

/** "This host", loopback and link-local (where clouds keep credentials of nodes): RFC 6890, RFC 4291 section 2.5. */
const never = new BlockList();
never.addSubnet('0.0.0.0', 8, 'ipv4');
never.addSubnet('127.0.0.0', 8, 'ipv4');
never.addSubnet('169.254.0.0', 16, 'ipv4');
never.addAddress('::', 'ipv6');
never.addAddress('::1', 'ipv6');
never.addSubnet('fe80::', 10, 'ipv6');

/** Whether no destination may lead there, in whatever pod it is. */
export function isNeverServer(address: string): boolean {
  return isIP(address) !== 0 && never.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

export interface ServiceResource {
  metadata: { name: string; namespace?: string };
  spec?: { clusterIPs?: string[]; clusterIP?: string; externalIPs?: string[] };
  status?: { loadBalancer?: { ingress?: { ip?: string }[] } };
}

/** The addresses of Services. */
export function serviceAddresses(services: Iterable<ServiceResource>): Set<string> {
  const found = [...services].flatMap(({ spec, status }) => [
    ...(spec?.clusterIPs ?? [spec?.clusterIP ?? '']),
    ...(spec?.externalIPs ?? []),
    ...(status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? ''),
  ]);
  return new Set(found.filter((address) => isIP(address) !== 0));
}

/**
 * A destination whose server is the gateway itself would come in at another one's listener, past the NetworkPolicy, which knows only pods (and no network looks at
 * what a pod sends to itself): and it would log in there with the other's credentials. So such addresses are refused when a name is resolved.
 * @param ours addresses of the Services that lead to gateways
 */
export function notOurselves(resolve: Resolve, ours: () => ReadonlySet<string>): Resolve {
  return async (host) => {
    const resolved = await resolve(host);
    const own = new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)));
    const services = ours();
    const refused = resolved.addresses.find((one) => isNeverServer(one) || own.has(one) || services.has(one));
    if (refused === undefined) return resolved;
    throw new Failure('resolve', `${host} is ${refused}, where the gateway itself is`, { retry: false });
  };
}
