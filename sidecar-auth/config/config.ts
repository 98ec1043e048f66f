import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Destination, type DestinationDraft, readDestination } from '../destination/destination.ts';
import type { HostPort } from './address.ts';
import { type Connectivity, readConnectivity } from './connectivity.ts';
import { allMistakes, byName } from './cross-checks.ts';
import { readDocument } from './document.ts';
import { type Listener, type ListenerDraft, readListeners } from './listener.ts';
import { ConfigMistakes, type Mistake } from './mistakes.ts';
import { type LogLevel, readLog, readObserve } from './observe.ts';
import type { Section } from './section.ts';
import { type GrantPlace, readGrants, readServices, type ServiceInstance } from './service.ts';
import { readTls } from './tls.ts';

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
  /** Where health and metrics are served; absent: nowhere. */
  observe?: HostPort;
  logLevel: LogLevel;
}

export interface Config extends Main {
  /** By name. */
  destinations: Map<string, Destination>;
  /** Every file that was read or looked for, for watching. */
  files: string[];
}

/** FILE as far as it could be read: enough to compare it with the destinations, so that all mistakes are told at once. */
export interface MainDraft extends Omit<Main, 'listeners'> {
  listeners: ListenerDraft[];
  /** Keys that are there, but whose value is not known. */
  unread: { connectivity: boolean; destinations: boolean };
}

/** What could be read. Whatever has mistakes is left out. */
export interface Reading {
  /** Absent where FILE has mistakes. */
  main?: Main;
  /** Absent where FILE is no mapping at all. */
  draft?: MainDraft;
  destinations: Destination[];
  /** Destination files that are there but have mistakes. */
  broken: DestinationDraft[];
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
  const draft = readMain(resolve(file), mistakes, files);
  const main = draft && mistakes.length === 0 ? whole(draft) : undefined;
  const folder = main ? main.directory : (directory ?? draft?.directory);
  // Without a folder there are no files to miss: all destinations come from the Destination service.
  const none = draft && !draft.unread.destinations ? [] : undefined;
  const found = folder === undefined ? none : destinationFiles(folder, resolve(file), mistakes);
  files.push(...(found ?? []));
  const reading: Reading = { destinations: [], broken: [], complete: found !== undefined, files, mistakes };
  if (main) reading.main = main;
  if (draft) reading.draft = draft;
  for (const path of found ?? []) {
    const { draft: known, destination } = readDestination(path, mistakes, files);
    if (destination) reading.destinations.push(destination);
    else reading.broken.push(known);
  }
  return reading;
}

function readMain(file: string, mistakes: Mistake[], files: string[]): MainDraft | undefined {
  const section = readDocument(file, mistakes);
  if (!section) return undefined;
  const { unread, ...sources } = readSources(section);
  const connectivity = readConnectivity(section.section('connectivity'), files);
  const additionalCAs = readTls(section.section('tls'));
  const listeners = readListeners(readList(section), files);
  const grants = readGrants(section.section('grants'));
  const loginTimeout = section.integer('loginTimeout', 1, 600) ?? 30;
  const observe = readObserve(section);
  const logLevel = readLog(section.section('log'));
  section.finish();
  return {
    file,
    ...sources,
    grants,
    tls: { additionalCAs },
    listeners,
    loginTimeout,
    logLevel,
    ...(connectivity && { connectivity }),
    ...(observe && { observe }),
    unread: { destinations: unread, connectivity: section.has('connectivity') && !connectivity },
  };
}

const SOURCES = 'directory (a folder with destination files), services (instances of the Destination service), or both';

function readSources(section: Section): Pick<Main, 'directory' | 'services'> & { unread: boolean } {
  const from = section.section('destinations');
  if (!from) section.mistake('destinations', `is missing; it must have ${SOURCES}`);
  const given = from?.sections('services') ?? [];
  const services = readServices(given);
  const directory = from?.path('directory');
  const none = from && !from.has('directory') && given.length === 0;
  if (none) section.mistake('destinations', `must have ${SOURCES}`);
  from?.finish();
  const unread = !from || none === true || services.length < given.length || (from.has('directory') && !directory);
  return { services, ...(directory !== undefined && { directory }), unread };
}

/** Without any listener nobody could connect. */
function readList(section: Section): Section[] {
  if (!section.has('listeners')) section.mistake('listeners', 'is missing; it must be a list of at least one listener');
  if (section.isEmptyList('listeners')) section.mistake('listeners', 'must have at least one listener');
  return section.sections('listeners');
}

/** A draft in which there is no mistake. */
function whole({ unread: _, listeners, ...rest }: MainDraft): Main {
  return {
    ...rest,
    listeners: listeners.flatMap(({ destination, address, ...more }) =>
      destination !== undefined && address ? { destination, address, ...more } : [],
    ),
  };
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
    mistakes.push({
      file,
      key: 'destinations.directory',
      text: `${directory} can't be read (${code}): it must be a folder`,
    });
    return undefined;
  }
}
