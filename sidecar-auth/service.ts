import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { addressText, type HostPort } from './config/address.ts';
import { type Config, loadConfig, readConfig } from './config/config.ts';
import { LastGood } from './config/last-good.ts';
import { LiveConfig } from './config/live.ts';
import { ConfigMistakes } from './config/mistakes.ts';
import { takeOver } from './config/take-over.ts';
import { Changes } from './contract/changes.ts';
import { Counters } from './contract/counters.ts';
import type { Line } from './contract/lines.ts';
import { type Answers, startContract } from './contract/server.ts';
import type { Protocol } from './failure.ts';
import { entries, protocols, protocolsOf } from './listeners/id.ts';
import { Publisher, readIfThere } from './listeners/publish.ts';
import { countedAnswers } from './observe/answers.ts';
import { keepDestinations } from './observe/counted.ts';
import { type MoreToObserve, observe } from './observe/observe.ts';
import { startRelay } from './relay/relay.ts';
import { relayTarget } from './route/relay-target.ts';
import { createResolve, type Resolve } from './route/resolve.ts';
import { Sessions } from './route/session.ts';
import { Sources } from './route/sources.ts';
import { destinationOf, RouteTable } from './route/table.ts';
import { warnUnverified } from './unverified.ts';

export interface ServiceOptions {
  configFile: string;
  /** Holds ca.pem, the CAs that are trusted; gets helper.sock, relay.sock and listeners.json. */
  runDir: string;
  filterFile: string;
  /** Envoy's worker threads. */
  workers: number;
  /** Its level follows the configuration. */
  log: Logger;
  resolve?: Resolve;
  /** Where health and metrics are served, in place of what FILE says. */
  observe?: HostPort;
  /** What is served there beside that. */
  more?: MoreToObserve;
  /** The admin interface of the Envoy that reads listeners.json. Absent: readiness and metrics are sidecar-auth's own. */
  adminSocket?: string;
}

export interface Service {
  /** From now on /readyz says that applications should go elsewhere. Nothing else changes. */
  drain(): void;
  close(): Promise<void>;
}

/**
 * Starts sidecar-auth: both sockets, the listeners file, and the watch over the configuration.
 * @throws ConfigMistakes where the configuration is wrong
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { configFile, runDir, filterFile, log } = options;
  const listenersFile = join(runDir, 'listeners.json');
  const open = protocolsOf(readIfThere(listenersFile));
  const lastGood = new LastGood(runDir, log);
  const config = open.size > 0 ? restarted(configFile, lastGood, log) : loadConfig(configFile);
  lastGood.keep(config);
  const ca = readFileSync(join(runDir, 'ca.pem'), 'utf8');
  const state = new State(open, new Publisher({ listenersFile, filterFile, log }, open.keys()), log);
  const progress = { started: false, draining: false };
  const observed = observedService(options, config, listenersFile, state, progress);
  const sources = await Sources.open(config, ca, log);
  await state.apply(config);
  const live = new LiveConfig(config, log, (next) => {
    lastGood.keep(next);
    sources.use(next);
    state.apply(next).catch((error) => log.error({ error: String(error) }, 'the listeners file could not be written'));
  });
  const server = await startContract(join(runDir, 'helper.sock'), answersOf(options, state, live, sources), (error) =>
    log.error({ error: String(error) }, 'a request met a fault'),
  );
  const target = (routeId: string) => relayTarget(state.table, routeId);
  const { resolve } = options;
  const relay = await startRelay({
    socketPath: join(runDir, 'relay.sock'),
    target,
    log,
    ca,
    ...(resolve && { resolve }),
  });
  progress.started = true;
  log.debug({ listeners: state.listeners }, 'ready');
  const drain = () => {
    progress.draining = true;
  };
  return {
    drain,
    close: async () => {
      drain();
      live.close();
      state.close();
      await relay.close();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
      await observed?.close();
    },
  };
}

function observedService(
  { observe: given, more, adminSocket, log }: ServiceOptions,
  config: Config,
  listenersFile: string,
  state: State,
  progress: { started: boolean; draining: boolean },
): { close(): Promise<void> } | undefined {
  const address = given ?? config.observe;
  if (!address) return undefined;
  return observe({
    address,
    log,
    listenersFile,
    ...(adminSocket !== undefined && { adminSocket }),
    ...(more && { more }),
    progress: () => ({ ...progress, written: state.written }),
    entries: () => state.table.routes,
  });
}

/** What follows from the configuration in force. */
class State {
  readonly table = new RouteTable();
  readonly changes = new Changes();
  readonly counters = new Counters();
  /** What is in force stands in the listeners file. */
  written = false;
  readonly #publisher: Publisher;
  readonly #log: Logger;
  #spoken: Map<string, Protocol>;
  #destinations: Config['destinations'] = new Map();

  constructor(spoken: Map<string, Protocol>, publisher: Publisher, log: Logger) {
    this.#spoken = spoken;
    this.#publisher = publisher;
    this.#log = log;
  }

  /** Routes and changes at once; resolves when Envoy's listeners are written. */
  async apply(config: Config): Promise<void> {
    this.#log.level = config.logLevel;
    this.#warn(config);
    this.#spoken = protocols(config, this.#spoken);
    const current = entries(config, this.#spoken);
    const changed = this.table.update(current);
    this.counters.keep(current.map(({ listenerId }) => listenerId));
    if (changed.length > 0) this.#log.info({ listeners: changed }, 'changed');
    this.changes.announce(changed);
    keepDestinations(new Set(config.listeners.map(({ destination }) => destination)));
    try {
      await this.#publisher.publish(current);
      this.written = true;
    } catch (error) {
      this.written = false;
      throw error;
    }
  }

  /** Of each change of a destination in a file. Those of the Destination service are told of when it gives them. */
  #warn({ destinations }: Config): void {
    for (const [name, destination] of destinations) {
      const changed = !isDeepStrictEqual(destination, this.#destinations.get(name));
      if (changed && !destination.verify) warnUnverified(this.#log, destination);
    }
    this.#destinations = destinations;
  }

  get listeners(): object[] {
    return this.table.routes.map((route) => ({
      id: route.listenerId,
      address: addressText(route.listener.address),
      destination: route.listener.destination,
      ...(destinationOf(route)?.verify === false && { verified: false }),
    }));
  }

  close(): void {
    this.#publisher.close();
    this.changes.close();
  }
}

function answersOf(
  { workers, log, resolve = createResolve() }: ServiceOptions,
  state: State,
  live: LiveConfig,
  sources: Sources,
): Answers {
  const { table, changes, counters } = state;
  const sessions = new Sessions({
    table,
    resolve,
    workers,
    served: (route) => sources.served(route),
    issuer: (route, destination) => sources.issuer(route, destination),
    refused: (token) => sources.refused(token),
    onDeadGrant: (destination, text) => log.warn({ destination, text }, 'silent applications have no token here'),
    onChange: (listenerId) => changes.announce([listenerId]),
  });
  const answers: Answers = {
    changes,
    session: async (listenerId) => {
      counters.session(table.ofListener(listenerId)?.listenerId);
      const answer = await sessions.answer(listenerId);
      return dated(answer, changes);
    },
    exchange: (request) => sessions.exchange(request),
    rejected: async (rejection) => {
      const route = table.ofId(rejection.routeId);
      counters.rejection(route !== undefined);
      if (!route) return undefined;
      // The server's text is not logged: it may repeat what it was sent.
      log.warn({ listener: route.listenerId, destination: route.listener.destination }, 'the server refused the login');
      // A new password in its file is what can help.
      live.check();
      const answer = await sessions.rejected(rejection);
      return answer && answer.length > 0 && !rejection.exchange ? dated(answer, changes) : answer;
    },
    status: () => ({
      contract: 1,
      boot: changes.boot,
      polls: changes.waiting,
      listeners: state.listeners,
      ...counters.all(),
    }),
  };
  return countedAnswers(answers, table);
}

/** With the state that the answer is of. A failure is not kept, and so needs none. */
function dated(answer: Line[], changes: Changes): Line[] {
  return answer.some(([key]) => key === 'failure') ? answer : [...answer, ['since', changes.now]];
}

/**
 * The configuration when sidecar-auth starts again beside a running Envoy: what was allowed while it ran (a deleted destination,
 * a broken edit) must not keep it down now. Where FILE itself has mistakes its last good version stays in force, as it did before.
 */
function restarted(file: string, lastGood: LastGood, log: Logger): Config {
  const last = lastGood.read();
  const reading = readConfig(file, last?.directory);
  const main = reading.main ?? last;
  if (!main) throw new ConfigMistakes(reading.mistakes);
  // Each mistake is logged when the files are looked at for the first time (LiveConfig).
  if (!reading.main) log.error({ file }, 'FILE has mistakes: its last good version is used');
  return takeOver({ ...main, destinations: new Map(), files: [] }, reading).config;
}
