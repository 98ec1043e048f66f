import type { DestinationDraft } from '../destination/destination.ts';
import type { MainDraft, Reading } from './config.ts';
import type { ListenerDraft } from './listener.ts';
import type { Mistake } from './mistakes.ts';
import { serviceOnly } from './service.ts';

/** FILE, whole or as far as it could be read. */
type Compared = Omit<MainDraft, 'unread'> & Partial<Pick<MainDraft, 'unread'>>;

/** The mistakes of single files and those that are seen with FILE (`main`) and destinations side by side. */
export function allMistakes(reading: Reading, main: Compared | undefined = reading.main ?? reading.draft): Mistake[] {
  const known: DestinationDraft[] = [...reading.destinations, ...reading.broken];
  const own = [...reading.mistakes, ...duplicates(known)];
  if (!main) return own;
  return [
    ...own,
    ...[...byName(known).values()].flatMap((destination) => misfits(main, destination)),
    ...unserved(reading, main),
    ...main.listeners.flatMap((listener) => misplaced(main, listener, known)),
  ];
}

/** Listeners whose destination is in no file, though it should be. */
export function unserved({ destinations, broken, complete }: Reading, main: Compared): Mistake[] {
  return complete && !main.unread?.destinations ? unknownDestinations(main, [...destinations, ...broken]) : [];
}

/** The first of a name wins. */
export function byName<T extends { name?: string }>(destinations: T[]): Map<string, T> {
  const found = new Map<string, T>();
  for (const one of destinations) if (one.name !== undefined && !found.has(one.name)) found.set(one.name, one);
  return found;
}

function duplicates(destinations: DestinationDraft[]): Mistake[] {
  const first = byName(destinations);
  return destinations.flatMap(({ name, file }) => {
    const other = first.get(name ?? '')?.file ?? file;
    return other === file ? [] : [{ file, key: 'Name', text: `"${name}" is also the name of ${other}` }];
  });
}

/** Why this destination does not go together with FILE; empty if it does. */
export function misfits(main: Compared, { name, protocol, onPremise, file }: DestinationDraft): Mistake[] {
  if (name === undefined) return [];
  const found: Mistake[] = [];
  if (onPremise && !main.connectivity && !main.unread?.connectivity) {
    found.push({ file: main.file, key: 'connectivity', text: `is missing, but "${name}" in ${file} is OnPremise` });
  }
  for (const { greeting, address, key } of main.listeners.filter(({ destination }) => destination === name)) {
    if (greeting && protocol && protocol !== 'imap') {
      found.push({
        file: main.file,
        key: `${key}.greeting`,
        text: `is for IMAP only, "${name}" is ${protocol}`,
      });
    }
    if (onPremise && address && 'path' in address) {
      // Envoy writes no PROXY header for a connection without IP addresses, and without it the relay knows no route.
      const text = `can't be a Unix socket, for "${name}" is OnPremise: use a loopback port, guarded by "app"`;
      found.push({ file: main.file, key: `${key}.address`, text });
    }
  }
  return found;
}

/** What a listener says of the Destination service, and of the protocol of a destination in a file. */
function misplaced(
  main: Compared,
  { key, service, source, protocol, destination: name }: ListenerDraft,
  known: DestinationDraft[],
): Mistake[] {
  const found: Mistake[] = [];
  const mistake = (at: string, text: string) => found.push({ file: main.file, key: `${key}.${at}`, text });
  const own = byName(known).get(name ?? '')?.protocol;
  if (protocol && own && protocol !== own) mistake('protocol', `must be ${own}, as "${name}" says`);
  if (main.unread?.destinations) return found;
  // Of the token service and the Connectivity Proxy, too.
  const [first] = serviceOnly(service).filter((one) => source !== 'file' || one !== 'tenant');
  if (first !== undefined && source === 'file') mistake(first, 'must not stand beside source: file');
  else if (first !== undefined && main.services.length === 0) mistake(first, 'needs destinations.services');
  const instance = service?.instance;
  if (instance !== undefined && main.services.length > 0 && !main.services.some((one) => one.name === instance)) {
    mistake('instance', `"${instance}" is not among ${main.services.map((one) => one.name).join(', ')}`);
  }
  return found;
}

/** A destination that is in no file may be in the Destination service, whose answer comes too late for Envoy's listener. */
function unknownDestinations(main: Compared, known: DestinationDraft[]): Mistake[] {
  const names = [...byName(known).keys()];
  // With `source: file` and a protocol the file may come later.
  const missing = main.listeners.filter(
    ({ destination, source, protocol }) =>
      destination !== undefined && !names.includes(destination) && !(source === 'file' && protocol),
  );
  if (main.services.length > 0) {
    return missing
      .filter(({ protocol }) => !protocol)
      .map(({ destination, key }) => ({
        file: main.file,
        key: `${key}.protocol`,
        text: `is missing; it must be smtp, imap or pop3, for "${destination}" is in no file`,
      }));
  }
  return missing.map(({ destination, key }) => ({
    file: main.file,
    key: `${key}.destination`,
    text: `"${destination}" is not known; ${names.length > 0 ? `there are ${names.join(', ')}` : 'there are none'}`,
  }));
}
