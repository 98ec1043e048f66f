import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { runDirFiles } from '../../../envoy/run-dir.ts';
import type { HostPort } from '../../config/address.ts';
import { readConfig } from '../../config/config.ts';
import { createResolve, type Resolve } from '../../route/resolve.ts';
import { type Service, startService } from '../../service.ts';
import type { Api } from './api.ts';
import { readBase } from './base.ts';
import { Contents } from './contents.ts';
import { drainPage } from './drain.ts';
import { FILE } from './files.ts';
import { Follow } from './follow.ts';
import { Gateway } from './gateway.ts';
import { Managed } from './managed.ts';
import { notOurselves, type ServiceResource, serviceAddresses } from './own-addresses.ts';
import { isServed, referencesOf } from './plan.ts';
import { openRunDir, writeBootstrap } from './run-dir.ts';
import { Updates } from './updates.ts';

/** Milliseconds for the API server's first answers, before a new pod starts without; it is not ready then. */
const FIRST_MS = 10_000;
/** ... before one whose container was started again goes on with what it knew: its Envoy has sessions that wait. */
const AGAIN_MS = 1_000;
/** postern.yaml's own default. */
const LOGIN_SECONDS = 30;
/** Milliseconds between two looks at the base file: a mounted ConfigMap changes about a minute after the ConfigMap itself. */
const BASE_MS = 5_000;

export interface GatewayRunOptions {
  api: Api;
  /** Private (mode 0700): what sidecar-auth reads. */
  folder: string;
  /** Shared with Envoy. */
  runDir: string;
  filterFile: string;
  /** Envoy's worker threads. */
  workers: number;
  /** What holds for all destinations, see base.ts. */
  baseFile?: string;
  /** IP literals to listen on. */
  hosts: string[];
  /** Where the Services are that lead to gateways. */
  gatewayNamespace: string;
  /** Only these; empty: those with the selector. */
  namespaces: string[];
  selector?: string;
  /** Where health and metrics are served, in place of what the base file says. */
  observe?: HostPort;
  /** This pod, where it is known: see drain.ts. */
  pod?: { namespace: string; name: string };
  /** For tests: servers may be on this machine. */
  allowLoopback?: boolean;
  log: Logger;
}

/** Follows the resources, and runs sidecar-auth on what they say. @throws Error, ConfigMistakes where it can't start */
export async function startGateway(options: GatewayRunOptions): Promise<Service> {
  const { log, hosts, baseFile, allowLoopback } = options;
  const [folder, runDir] = [resolve(options.folder), resolve(options.runDir)];
  const gateway = new Gateway({
    folder,
    readBase: () => readBase(baseFile),
    place: { hosts, placeholder: openRunDir(runDir) },
    ...(allowLoopback && { allowLoopback }),
    log,
  });
  const following = follow(options, gateway);
  const patience = gateway.isKnown ? AGAIN_MS : FIRST_MS;
  const isHeard = await Promise.race([following.first.then(() => true), sleep(patience, false, { ref: false })]);
  if (!isHeard) {
    log.warn({ isKnown: gateway.isKnown }, 'the API server has not answered yet: what is known from before is used');
    gateway.restore();
  }
  const configFile = join(folder, FILE);
  const { draft } = readConfig(configFile);
  writeBootstrap(runDir, draft?.tls.additionalCAs ?? [], draft?.loginTimeout ?? LOGIN_SECONDS);
  const service = await startSidecarAuth({ ...options, runDir }, configFile, gateway, following.resolve);
  return {
    drain: () => service.drain(),
    close: async () => {
      following.close();
      await service.close();
    },
  };
}

async function startSidecarAuth(
  { api, runDir, filterFile, workers, observe, pod, log }: GatewayRunOptions,
  configFile: string,
  gateway: Gateway,
  resolve: Resolve,
): Promise<Service> {
  const { adminSocket } = runDirFiles(runDir);
  // The page is served before the service stands.
  let service: Service | undefined;
  const onEnd = () => service?.drain();
  const more = {
    notReady: () => (gateway.isKnown ? [] : ['the API server has not been heard yet']),
    pages: { '/drain': drainPage({ api, adminSocket, onEnd, log, ...(pod && { pod }) }) },
  };
  service = await startService({
    configFile,
    runDir,
    filterFile,
    workers,
    log,
    resolve,
    adminSocket,
    more,
    ...(observe && { observe }),
  });
  return service;
}

/** Keeps the files as the resources say. `first` resolves when they are for the first time. */
function follow(options: GatewayRunOptions, gateway: Gateway) {
  const { api, log, gatewayNamespace, namespaces, selector, allowLoopback } = options;
  let isSynced = false;
  const first = Promise.withResolvers<void>();
  const updates = new Updates(
    async () => {
      if (!isSynced) return;
      const resources = managed.destinations.filter(isServed);
      await contents.want(resources.flatMap(referencesOf));
      gateway.update(resources, (reference) => contents.of(reference));
      first.resolve();
    },
    (error) => log.error({ error: String(error) }, 'the destinations could not be written; it is tried again'),
  );
  const contents = new Contents(api, updates.due);
  const managed = new Managed({ api, namespaces, selector, onChange: updates.due, log });
  void managed.synced.then(() => {
    isSynced = true;
    updates.due();
  });
  let ours: ReadonlySet<string> = new Set();
  const services = new Follow<ServiceResource>({
    api,
    path: `/api/v1/namespaces/${encodeURIComponent(gatewayNamespace)}/services`,
    onChange: (items) => {
      ours = serviceAddresses(items.values());
    },
    log,
  });
  const base = setInterval(() => gateway.checkBase() && updates.due(), BASE_MS);
  const close = () => {
    clearInterval(base);
    updates.stop();
    contents.close();
    managed.stop();
    services.stop();
    api.close();
  };
  const system = createResolve();
  return { first: first.promise, close, resolve: allowLoopback ? system : notOurselves(system, () => ours) };
}
