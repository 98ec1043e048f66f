import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { BindingTokens } from '../../binding/tokens.ts';
import { transportOf } from '../../destination/transport.ts';
import { ServiceClient } from '../../destination-service/client.ts';
import type { DestinationRef } from '../../destination-service/reference.ts';
import { Failure } from '../../failure.ts';
import { fetchesOf, Outage } from '../../http.ts';
import { type Destination, type Reason, ResourceMistake, type SERVICE_PORTS, tenantsOf } from '../resource.ts';
import type { Base } from './base.ts';
import type { Transport } from './reconcile.ts';

/** Asks the Destination service what a resource's destination speaks; a mistake is for the resource's status. Rejects while the service is down. */
export type LookUp = (resource: Destination) => Promise<Transport | ResourceMistake>;

/** @returns undefined where there is no Destination service to ask */
export function lookUpBy(
  { services, additionalCAs }: Pick<Base, 'services' | 'additionalCAs'>,
  log: { warn(details: object, text: string): void },
): LookUp | undefined {
  if (services.length === 0) return undefined;
  const own = additionalCAs.map((path) => readFileSync(path, 'utf8'));
  const fetchWith = fetchesOf(own.length > 0 ? { ca: [...rootCertificates, ...own].join('\n') } : {});
  const client = new ServiceClient(new BindingTokens({ fetchWith, log }), fetchWith());
  client.use(services);
  return (resource) => lookUp(client, resource);
}

async function lookUp(client: ServiceClient, resource: Destination): Promise<Transport | ResourceMistake> {
  try {
    const answer = await client.get(referenceOf(resource), 'configuration');
    return answer ? transport(answer.configuration) : mistake('NotFound', 'there is no such destination');
  } catch (error) {
    if (error instanceof ResourceMistake) return error;
    if (error instanceof Outage || !(error instanceof Failure)) throw error;
    // What can't be helped by trying again is the user's to know.
    if (error.code === 'unknown_destination') return mistake('NotFound', error.message);
    throw error;
  }
}

/** All subscribers speak the same protocol: it is that of the first. */
function referenceOf(resource: Destination): DestinationRef {
  const { destinationRef, fragmentRef, chainRef, destinationServiceInstanceName: instance } = resource.spec;
  const [tenant] = tenantsOf(resource);
  const { name = '', level } = destinationRef ?? {};
  const fragment = fragmentRef && {
    name: fragmentRef.level ? `${fragmentRef.name}@${fragmentRef.level}` : fragmentRef.name,
    optional: fragmentRef.optional ?? false,
  };
  const variables = Object.fromEntries((chainRef?.variables ?? []).map(({ name, value }) => [name, value]));
  return {
    name,
    ...(level && { level }),
    ...(instance !== undefined && { instance }),
    ...(tenant !== undefined && { tenant }),
    ...(fragment && { fragment }),
    ...(chainRef && { chain: { name: chainRef.name, variables } }),
  };
}

function transport(configuration: Record<string, unknown>): Transport | ResourceMistake {
  const { Type: type, ProxyType: proxyType } = configuration;
  if (type !== 'MAIL') return mistake('TypeNotSupported', `its Type is ${shown(type)} and must be MAIL`);
  if (proxyType !== 'Internet' && proxyType !== 'OnPremise') {
    return mistake('ProxyTypeNotSupported', `its ProxyType is ${shown(proxyType)} and must be Internet or OnPremise`);
  }
  const name = configuration['mail.transport.protocol'];
  const found = transportOf(String(name));
  if (!found) return mistake('TypeNotSupported', `its mail.transport.protocol is ${shown(name)}`);
  return `${found.protocol}${found.tls ? 's' : ''}` satisfies keyof typeof SERVICE_PORTS;
}

function mistake(kind: 'NotFound' | 'TypeNotSupported' | 'ProxyTypeNotSupported', text: string): ResourceMistake {
  const reason: Reason = `ConfigurationError-ReferencedDestination-${kind}`;
  return new ResourceMistake(reason, `the Destination service's destination can't be used: ${text}`);
}

/** A value that should be a word may be anything. */
function shown(value: unknown): string {
  return typeof value === 'string' && /^[\w-]{1,40}$/.test(value) ? value : 'missing or something else';
}
