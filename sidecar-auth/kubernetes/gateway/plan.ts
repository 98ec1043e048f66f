import type { Protocol } from '../../failure.ts';
import {
  type Destination,
  type DestinationPort,
  type DestinationSpec,
  keyOf,
  modeOf,
  protocolOf,
} from '../resource.ts';
import { type Content, type Reference, referenceText } from './contents.ts';
import { type PlainDestination, plainDestination } from './properties.ts';

/** A listener as it stands in postern.yaml (docs/configuration.md), but for its address. */
export interface PlannedListener {
  port: number;
  destination: string;
  protocol: Protocol;
  /** A plain destination: the Destination service is never asked for it. */
  source?: 'file';
  app?: { user: string; password: string };
  greeting?: 'preauth';
  maxConnections?: number;
  instance?: string;
  tenant?: string;
  level?: string;
  fragment?: { name: string; optional?: boolean };
  chain?: { name: string; variables: Record<string, string> };
  tokenServiceTenant?: string;
}

/** What one resource leads to. */
export interface Plan {
  /** `namespace/name`. */
  key: string;
  listeners: PlannedListener[];
  /** Of a plain destination: from which Secret and ConfigMap it comes. */
  source?: string;
  plain?: PlainDestination;
  /** Why there is no plain destination, or no listener: one line for people, without a secret. */
  mistake?: string;
  /** Whether what was known of the same source before may stand in: it is wrong or can't be read now, but not gone. */
  mayStand?: boolean;
}

type FragmentRef = NonNullable<DestinationSpec['fragmentRef']>;

/** Looks up what was read. */
export type ContentOf = (reference: Reference) => Content;

/** In which Secrets and ConfigMaps a resource has its parts: always in its own namespace. */
export function referencesOf({ metadata: { namespace }, spec }: Destination): Reference[] {
  return [...partsOf(namespace, spec), ...appOf(namespace, spec)];
}

/** The ConfigMap first, for the Secret wins. */
function partsOf(namespace: string, { configMapRef, secretRef }: DestinationSpec): Reference[] {
  return [
    ...(configMapRef ? [{ kind: 'ConfigMap', namespace, name: configMapRef.name } as const] : []),
    ...(secretRef ? [{ kind: 'Secret', namespace, name: secretRef.name } as const] : []),
  ];
}

function appOf(namespace: string, { app }: DestinationSpec): Reference[] {
  return app ? [{ kind: 'Secret', namespace, name: app.secretRef.name }] : [];
}

/** Whether this gateway has anything to do for the resource: it waits for its ports, and one that is being deleted is as good as gone. */
export function isServed(resource: Destination): boolean {
  const { metadata, status } = resource;
  return modeOf(resource) === 'gateway' && metadata.deletionTimestamp === undefined && (status?.ports ?? []).length > 0;
}

/** What a resource that isServed leads to, from what was read of its Secrets and ConfigMaps. Never throws. */
export function planOf(resource: Destination, contentOf: ContentOf): Plan {
  const key = keyOf(resource);
  try {
    const common = commonOf(resource, contentOf);
    return resource.spec.destinationRef
      ? { key, listeners: ofService(resource.spec, portsOf(resource), common) }
      : ofPlain(resource, common, contentOf);
  } catch (error) {
    return { key, listeners: [], mistake: (error as Error).message };
  }
}

function portsOf({ status }: Destination): DestinationPort[] {
  return status?.ports ?? [];
}

type Common = Pick<PlannedListener, 'protocol' | 'app' | 'greeting' | 'maxConnections'>;

function commonOf(resource: Destination, contentOf: ContentOf): Common {
  const { metadata, spec } = resource;
  const protocol = protocolOf(resource);
  if (!protocol) throw new Error('its protocol is not known');
  const [appSecret] = appOf(metadata.namespace, spec);
  return {
    protocol,
    // Without what apps must log in with, nobody may get in: then there is no listener.
    ...(appSecret && { app: appLogin(appSecret, contentOf(appSecret)) }),
    ...(spec.greeting && { greeting: spec.greeting }),
    ...(spec.maxConnections !== undefined && { maxConnections: spec.maxConnections }),
  };
}

function appLogin(reference: Reference, content: Content): { user: string; password: string } {
  const data = dataOf(reference, content);
  const value = (key: string) => {
    if (!Object.hasOwn(data, key)) throw new Error(`${referenceText(reference)} must have the keys user and password`);
    return data[key]?.toString().replace(/\r?\n$/, '') ?? '';
  };
  return { user: value('user'), password: value('password') };
}

function ofService(spec: DestinationSpec, ports: DestinationPort[], common: Common): PlannedListener[] {
  const { destinationRef, fragmentRef, chainRef, destinationServiceInstanceName: instance } = spec;
  if (!destinationRef) return [];
  const { name, level } = destinationRef;
  // Plain destinations have names with a slash, of their namespace: nobody may ask for one by name.
  if (name.includes('/')) throw new Error('destinationRef.name must not have a slash in it');
  const variables = Object.fromEntries((chainRef?.variables ?? []).map((one) => [one.name, one.value]));
  return ports.map(({ port, tenant }) => ({
    port,
    destination: name,
    ...common,
    ...(instance !== undefined && { instance }),
    ...(tenant !== undefined && { tenant, tokenServiceTenant: tenant }),
    ...(level && { level }),
    ...(fragmentRef && { fragment: fragmentOf(fragmentRef) }),
    ...(chainRef && { chain: { name: chainRef.name, variables } }),
  }));
}

/** The Destination service's form of a fragment that lies elsewhere than the destination. */
function fragmentOf({ name, level, optional }: FragmentRef): NonNullable<PlannedListener['fragment']> {
  return { name: level ? `${name}@${level}` : name, ...(optional !== undefined && { optional }) };
}

function ofPlain(resource: Destination, common: Common, contentOf: ContentOf): Plan {
  const { metadata, spec } = resource;
  const key = keyOf(resource);
  const parts = partsOf(metadata.namespace, spec);
  const source = parts.map(referenceText).join(' ');
  // Also where the destination is wrong: so the app hears what is the matter.
  const listeners = portsOf(resource).map(
    ({ port, tenant }): PlannedListener => ({
      port,
      destination: key,
      source: 'file',
      ...common,
      ...(tenant !== undefined && { tenant, tokenServiceTenant: tenant }),
    }),
  );
  const contents = parts.map(contentOf);
  try {
    const entries = parts.flatMap((part, index) => Object.entries(dataOf(part, contents[index])));
    return { key, listeners, source, plain: plainDestination(key, Object.fromEntries(entries)) };
  } catch (error) {
    const mayStand = contents.every(({ kind }) => kind !== 'missing');
    return { key, listeners, source, mistake: (error as Error).message, mayStand };
  }
}

function dataOf(reference: Reference, content: Content | undefined): Record<string, Buffer> {
  if (content?.kind === 'data') return content.data;
  const why = content?.kind === 'unread' ? `can't be read: ${content.text}` : 'does not exist';
  throw new Error(`${referenceText(reference)} ${why}`);
}
