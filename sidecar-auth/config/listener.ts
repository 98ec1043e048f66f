import type { Protocol } from '../failure.ts';
import { type Address, addressText, isLoopback, readAddress } from './address.ts';
import { readUser, requiredSecret } from './document.ts';
import type { Section } from './section.ts';
import { readReference, type ServiceReference } from './service.ts';

export interface Listener {
  /** Name of the destination. */
  destination: string;
  address: Address;
  /** What the app must log in with. */
  app?: { user: string; password: string };
  greeting?: 'preauth';
  /** Needed where the destination is not in a file: Envoy's listener must know it before the Destination service answers. */
  protocol?: Protocol;
  /** The Destination service is not asked; with `protocol` the file may come later. */
  source?: 'file';
  service?: ServiceReference;
  /** Connections at once. */
  maxConnections: number;
  /** Whether the user set it: only then the workers' shares must be even (Envoy's exact balance costs a lock per connection). */
  maxConnectionsSet: boolean;
  /** Where it stands in FILE, for mistakes found later: `listeners[2]`. */
  key: string;
}

/** A listener as far as it could be read. */
export type ListenerDraft = Omit<Listener, 'destination' | 'address'> & { destination?: string; address?: Address };

/** Far more than one app opens, far less than what Envoy's clusters are set to: an app that leaks connections harms itself only. */
const DEFAULT_CONNECTIONS = 10_000;
/** Envoy's clusters stand at 100,000 (envoy/), so that this limit is always the one that is met first. */
const MOST_CONNECTIONS = 100_000;

export function readListeners(sections: Section[], files: string[]): ListenerDraft[] {
  const seen = new Map<string, string>();
  return sections.map((section, index) => {
    const key = `listeners[${index}]`;
    const listener = readListener(section, key, files);
    if (!listener.address) return listener;
    const address = addressText(listener.address);
    const other = seen.get(address);
    if (other) section.mistake('address', `${address} is taken by ${other}`);
    seen.set(address, key);
    return listener;
  });
}

function readListener(section: Section, key: string, files: string[]): ListenerDraft {
  const destination = section.required('destination', 'the Name of a destination');
  const address = readAddress(section);
  const app = readApp(section, files);
  const greeting = section.choice('greeting', ['preauth'] as const);
  const protocol = section.choice('protocol', ['smtp', 'imap', 'pop3'] as const);
  const source = section.choice('source', ['file'] as const);
  const service = readReference(section);
  const max = section.integer('maxConnections', 1, MOST_CONNECTIONS);
  const open = section.flag('open');
  section.finish();
  if (section.has('app') && greeting)
    section.mistake('greeting', 'preauth must not stand beside app: nobody would log in');
  if (address && 'host' in address && !isLoopback(address.host) && !section.has('app') && !open) {
    section.mistake(
      'address',
      'is not a loopback address: add app, or open: true if anyone who reaches it may send as its user',
    );
  }
  return {
    ...(destination !== undefined && { destination }),
    ...(address && { address }),
    ...(app && { app }),
    ...(greeting && { greeting }),
    ...(protocol && { protocol }),
    ...(source && { source }),
    ...(service && { service }),
    maxConnections: max ?? DEFAULT_CONNECTIONS,
    maxConnectionsSet: max !== undefined,
    key,
  };
}

function readApp(section: Section, files: string[]): Listener['app'] {
  const app = section.section('app');
  if (!app) return undefined;
  const user = readUser(app, 'user');
  const password = requiredSecret(app, 'password', files);
  app.finish();
  return user === undefined || password === undefined ? undefined : { user, password };
}
