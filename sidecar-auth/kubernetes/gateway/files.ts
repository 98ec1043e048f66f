import { hostPort } from '../../config/address.ts';
import type { Base } from './base.ts';
import type { PlannedListener } from './plan.ts';
import type { PlainDestination } from './properties.ts';

/** What of a resource is in force. */
export interface Accepted {
  listeners: PlannedListener[];
  source?: string;
  plain?: PlainDestination;
}

/** What sidecar-auth reads, docs/configuration.md. */
export const FILE = 'postern.yaml';
export const STATE = 'state.json';

export interface Place {
  /** IP literals on which each listener listens: the pod's own. */
  hosts: string[];
  /** Path of a Unix socket, see PLACEHOLDER. */
  placeholder: string;
}

/**
 * A listener that nobody can reach (mode 0600) and that leads nowhere. FILE must have one when no resource is there yet, or the last has gone; and Envoy has
 * compiled the filter before the first resource comes. No resource has this name, for theirs have a slash.
 */
const PLACEHOLDER = {
  Name: '(none)',
  Type: 'MAIL',
  ProxyType: 'Internet',
  Authentication: 'NoAuthentication',
  'mail.transport.protocol': 'smtp',
  // RFC 6761 section 6.4: no server has this name.
  'mail.smtp.host': 'unset.invalid',
};

/** Content by path, in the order in which they may be written: FILE comes after what it names. */
export function filesOf(base: Base, place: Place, accepted: ReadonlyMap<string, Accepted>): Map<string, string> {
  const files = new Map([['destinations/(none).json', json(PLACEHOLDER)]]);
  for (const [key, { plain }] of accepted) {
    if (plain) for (const [path, text] of plainFiles(key, plain)) files.set(path, text);
  }
  files.set(STATE, json({ base, accepted: [...accepted] }));
  const listeners = [...accepted.values()].flatMap((one) => one.listeners);
  files.set(FILE, json(postern(base, place, listeners)));
  return files;
}

/** What was in force when STATE was written; undefined where it is none of ours: it is written by rename, so it is never half of it. */
export function stateOf(text = ''): { base: Base; accepted: Map<string, Accepted> } | undefined {
  try {
    const { base, accepted } = JSON.parse(text) as { base: Base; accepted: [string, Accepted][] };
    return { base, accepted: new Map(accepted) };
  } catch {
    return undefined;
  }
}

/** A namespace has no dot in it: no two resources have the same. */
function plainFiles(key: string, { properties, files }: PlainDestination): [string, string][] {
  const name = key.replace('/', '.');
  const named = Object.entries(files).map(([property, text], index) => ({
    property,
    text,
    path: `secrets/${name}.${index}`,
  }));
  const paths = Object.fromEntries(named.map(({ property, path }) => [property, `../${path}`]));
  return [
    ...named.map(({ path, text }): [string, string] => [path, text]),
    [`destinations/${name}.json`, json({ ...properties, ...paths })],
  ];
}

function postern(base: Base, { hosts, placeholder }: Place, listeners: PlannedListener[]): object {
  const none = { destination: PLACEHOLDER.Name, address: placeholder, source: 'file' };
  const open = listeners.flatMap(({ port, ...listener }) =>
    hosts.map((host) => ({
      ...listener,
      address: hostPort(host, port),
      // Who reaches it is decided by NetworkPolicies (and AuthorizationPolicies), where the app has no login of its own.
      ...(!listener.app && { open: 'true' }),
    })),
  );
  return {
    ...base,
    destinations: { ...(base.destinations as object | undefined), directory: './destinations' },
    listeners: [none, ...open],
  };
}

/** JSON is YAML. One line per entry would be nicer to read; nobody reads it. */
function json(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
