import type { Logger } from 'pino';
import type { HostPort } from '../config/address.ts';
import type { Entry } from '../route/table.ts';
import { countedFamilies } from './counted.ts';
import { envoyFamilies } from './envoy-stats.ts';
import { processFamilies } from './process-stats.ts';
import { type Progress, Readiness } from './ready.ts';
import { type Pages, startObserve } from './server.ts';

export interface ObserveOptions {
  address: HostPort;
  log: Pick<Logger, 'info' | 'error'>;
  progress: () => Progress;
  /** The listeners in force. */
  entries: () => Entry[];
  listenersFile: string;
  /** Envoy's admin interface, where it is known. */
  adminSocket?: string;
  more?: MoreToObserve;
}

/** What a program around sidecar-auth adds. */
export interface MoreToObserve {
  /** Further reasons why no application should come here now. */
  notReady?: () => string[];
  /** Further pages, by path. */
  pages?: Pages;
}

/** What a cluster looks at: health, readiness and metrics of sidecar-auth, and of the Envoy beside it. */
export function observe(options: ObserveOptions): { close(): Promise<void> } {
  const { address, log, progress, entries, listenersFile, adminSocket, more = {} } = options;
  const readiness = new Readiness(progress, adminSocket === undefined ? undefined : { adminSocket, listenersFile });
  const facts = {
    notReady: async () => [...(more.notReady?.() ?? []), ...(await readiness.reasons())],
    families: async () => [
      ...processFamilies(),
      ...countedFamilies(),
      ...(adminSocket === undefined ? [] : await envoyFamilies(adminSocket, entries())),
    ],
    ...(more.pages && { pages: more.pages }),
  };
  return startObserve(address, facts, log);
}
