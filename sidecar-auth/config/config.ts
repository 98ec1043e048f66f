import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Destination, readDestination } from '../destination/destination.ts';
import { type Connectivity, readConnectivity } from './connectivity.ts';
import { readDocument, readText } from './document.ts';
import { type Listener, readListeners } from './listener.ts';
import { ConfigMistakes, type Mistake } from './mistakes.ts';
import type { Section } from './section.ts';
import { type GrantPlace, readGrants, readServices, type ServiceInstance } from './service.ts';

/** What FILE itself says. */
export interface Main {
  /** Absolute path of FILE. */
  file: string;
  /** Absolute path of the folder with the destination files; absent where all come from the Destination service. */
  directory?: string;
  /** Instances of the Destination service, asked before the files; the first is the default. */
  services: ServiceInstance[];
  grants: GrantPlace;
  connectivity?: Connectivity;
  /** Absolute paths of PEM files. */
  tls: { additionalCAs: string[] };
  listeners: Listener[];
  /** Seconds for connecting and greeting, and again for the login; 1 to 600. */
  loginTimeout: number;
}

export interface Config extends Main {
  /** By name. */
  destinations: Map<string, Destination>;
  /** Every file that was read or looked for, for watching. */
  files: string[];
}

/** What could be read. Whatever has mistakes is left out. */
export interface Reading {
  main?: Main;
  destinations: Destination[];
  /** Destination files that are there but have mistakes, with the name where it is known. */
  broken: { file: string; name?: string }[];
  /** Whether the folder of destinations could be read. */
  complete: boolean;
  files: string[];
  mistakes: Mistake[];
}

/**
 * Reads FILE of `postern up --config FILE` and everything that it names.
 * @throws ConfigMistakes with all mistakes at once, those of the destination files included
 */
export function loadConfig(file: string): Config {
  const reading = readConfig(file);
  const mistakes = allMistakes(reading);
  if (!reading.main || mistakes.length > 0) throw new ConfigMistakes(mistakes);
  return { ...reading.main, destinations: byName(reading.destinations), files: reading.files };
}

/** Reads all files; the folder of destinations is `directory` where FILE itself can't be used. */
export function readConfig(file: string, directory?: string): Reading {
  const mistakes: Mistake[] = [];
  const files = [resolve(file)];
  const { main, directory: own } = readMain(resolve(file), mistakes, files);
  const folder = main ? main.directory : (directory ?? own);
  // Without a folder there are no files to miss: all destinations come from the Destination service.
  const none = main ? [] : undefined;
  const found = folder === undefined ? none : destinationFiles(folder, resolve(file), mistakes);
  files.push(...(found ?? []));
  const reading: Reading = { destinations: [], broken: [], complete: found !== undefined, files, mistakes };
  if (main) reading.main = main;
  for (const path of found ?? []) {
    const { name, destination } = readDestination(path, mistakes, files);
    if (destination) reading.destinations.push(destination);
    else reading.broken.push({ file: path, ...(name !== undefined && { name }) });
  }
  return reading;
}

/** The mistakes of single files and those that are seen with FILE (`main`) and destinations side by side. */
export function allMistakes(reading: Reading, main = reading.main): Mistake[] {
  if (!main) return reading.mistakes;
  const { destinations, broken, complete } = reading;
  return [
    ...reading.mistakes,
    ...duplicates(destinations),
    ...destinations.flatMap((destination) => misfits(main, destination)),
    ...(complete ? unknownDestinations(main, [...destinations, ...broken]) : []),
    ...main.listeners.flatMap((listener) => misplaced(main, listener, destinations)),
  ];
}

function readMain(file: string, mistakes: Mistake[], files: string[]): { main?: Main; directory?: string } {
  const section = readDocument(file, mistakes);
  if (!section) return {};
  const from = section.has('destinations')
    ? section.section('destinations')
    : section.mistake('destinations', 'is missing');
  const services = from ? readServices(from) : [];
  const directory = from?.has('directory') ? from.path('directory') : undefined;
  if (from && !from.has('directory') && services.length === 0) from.mistake('directory', 'or services is missing');
  from?.finish();
  const connectivity = readConnectivity(section.section('connectivity'));
  const additionalCAs = readTls(section.section('tls'));
  const listeners = readListeners(section.sections('listeners'), files);
  const grants = readGrants(section.section('grants'));
  const loginTimeout = section.integer('loginTimeout', 1, 600) ?? 30;
  section.finish();
  if (section.has('listeners') === false) section.mistake('listeners', 'is missing');
  const known = directory === undefined ? {} : { directory };
  if (mistakes.length > 0) return known;
  const main = {
    file,
    ...known,
    services,
    grants,
    tls: { additionalCAs },
    listeners,
    loginTimeout,
    ...(connectivity && { connectivity }),
  };
  return { main, ...known };
}

function readTls(section: Section | undefined): string[] {
  if (!section) return [];
  const paths = section.list('additionalCAs').map((value, index) => {
    const key = `additionalCAs[${index}]`;
    if (typeof value !== 'string' || value === '') return section.mistake(key, 'must be the path of a PEM file');
    const path = section.absolute(value);
    const text = readText(path, (what) => section.mistake(key, what));
    const pem = text === undefined || text.includes('-----BEGIN CERTIFICATE-----');
    return pem ? path : section.mistake(key, 'must be a PEM file with certificates');
  });
  section.finish();
  return paths.filter((path) => path !== undefined);
}

function destinationFiles(directory: string, file: string, mistakes: Mistake[]): string[] | undefined {
  try {
    // Names that begin with a dot are the work of editors and of Kubernetes (..data).
    const names = readdirSync(directory).filter((name) => /^[^.].*\.(json|ya?ml)$/.test(name));
    return names
      .map((name) => join(directory, name))
      .filter((path) => path !== file)
      .sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    mistakes.push({ file, key: 'destinations.directory', text: `${directory} can't be read (${code})` });
    return undefined;
  }
}

/** The first of a name wins. */
export function byName(destinations: Destination[]): Map<string, Destination> {
  return new Map(destinations.toReversed().map((destination) => [destination.name, destination]));
}

function duplicates(destinations: Destination[]): Mistake[] {
  const first = byName(destinations);
  return destinations.flatMap(({ name, file }) => {
    const other = first.get(name)?.file;
    return other === file ? [] : [{ file, key: 'Name', text: `"${name}" is also the name of ${other}` }];
  });
}

/** Why this destination does not go together with FILE; empty if it does. */
export function misfits(main: Main, { name, protocol, onPremise, file }: Destination): Mistake[] {
  const found: Mistake[] = [];
  if (onPremise && !main.connectivity) {
    found.push({ file: main.file, key: 'connectivity', text: `is missing, but "${name}" in ${file} is OnPremise` });
  }
  for (const { destination, greeting, address, key } of main.listeners.filter((one) => one.destination === name)) {
    if (greeting && protocol !== 'imap') {
      found.push({
        file: main.file,
        key: `${key}.greeting`,
        text: `is for IMAP only, "${destination}" is ${protocol}`,
      });
    }
    if (onPremise && 'path' in address) {
      // Envoy writes no PROXY header for a connection without IP addresses, and without it the relay knows no route.
      const text = `can't be a Unix socket, for "${destination}" is OnPremise: use a loopback port, guarded by "app"`;
      found.push({ file: main.file, key: `${key}.address`, text });
    }
  }
  return found;
}

/** What a listener says of the Destination service, and of the protocol of a destination in a file. */
function misplaced(
  main: Main,
  { key, service, protocol, destination: name }: Listener,
  known: Destination[],
): Mistake[] {
  const found: Mistake[] = [];
  const mistake = (at: string, text: string) => found.push({ file: main.file, key: `${key}.${at}`, text });
  const own = known.find((destination) => destination.name === name)?.protocol;
  if (protocol && own && protocol !== own) mistake('protocol', `must be ${own}, as "${name}" says`);
  if (service && main.services.length === 0) mistake(Object.keys(service)[0] ?? '', 'needs destinations.services');
  const instance = service?.instance;
  if (instance !== undefined && main.services.length > 0 && !main.services.some((one) => one.name === instance)) {
    mistake('instance', `"${instance}" is not among ${main.services.map((one) => one.name).join(', ')}`);
  }
  return found;
}

/** A destination that is in no file may be in the Destination service, whose answer comes too late for Envoy's listener. */
function unknownDestinations(main: Main, known: { name?: string }[]): Mistake[] {
  const names = known.flatMap(({ name }) => name ?? []);
  const missing = main.listeners.filter(({ destination }) => !names.includes(destination));
  if (main.services.length > 0) {
    return missing
      .filter(({ protocol }) => !protocol)
      .map(({ destination, key }) => ({
        file: main.file,
        key: `${key}.protocol`,
        text: `is missing: smtp, imap or pop3, for "${destination}" is in no file`,
      }));
  }
  return missing.map(({ destination, key }) => ({
    file: main.file,
    key: `${key}.destination`,
    text: `"${destination}" is not known; ${names.length > 0 ? `there are ${names.join(', ')}` : 'there are none'}`,
  }));
}
