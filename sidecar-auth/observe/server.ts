import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type HostPort, hostPort } from '../config/address.ts';
import { CONTENT_TYPE, type Family, openMetrics } from './openmetrics.ts';

/** Probes and scrapes are few; whoever else comes waits, or is turned away. */
const CONNECTIONS = 64;
/** Milliseconds for a request to arrive in whole. */
const REQUEST_MS = 5_000;
/** Milliseconds until an address that was taken is tried again. */
const RETRY_MS = 2_000;

/** What is told. */
export interface Facts {
  /** Why no application should come here now; empty when one may. */
  notReady(): Promise<string[]>;
  families(): Promise<Family[]>;
  /** Other pages, by path. */
  pages?: Pages;
}

export interface Page {
  status: number;
  body: string;
  type?: string;
}

/** What answers a GET of a path. */
export type Pages = Readonly<Record<string, () => Promise<Page>>>;

/**
 * Serves /healthz, /readyz and /metrics. An address that can't be used is logged and tried again: mail flows on without.
 * They change nothing and hold no secret, so who may reach them is left to the address and the network.
 */
export function startObserve(
  address: HostPort,
  facts: Facts,
  log: { error(details: object, text: string): void; info(details: object, text: string): void },
): { close(): Promise<void> } {
  const pages = pagesOf(facts);
  const server = createServer((request, response) => {
    answer(pages, request).then(
      (page) => reply(response, page),
      (error) => {
        log.error({ error: String(error) }, 'observe: a request met a fault');
        reply(response, { status: 500, body: 'a fault\n' });
      },
    );
  });
  server.maxConnections = CONNECTIONS;
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  const listening = listen(server, address, log);
  return {
    close: () =>
      new Promise((resolve) => {
        listening.stop();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function pagesOf({ notReady, families, pages }: Facts): Pages {
  const reasons = shared(notReady);
  const metrics = shared(families);
  return {
    ...pages,
    // That it is answered at all is what it says: the process lives, and its event loop turns.
    '/healthz': async () => ({ status: 200, body: 'ok\n' }),
    '/readyz': async () => readiness(await reasons()),
    '/metrics': async () => ({ status: 200, body: openMetrics(await metrics()), type: CONTENT_TYPE }),
  };
}

function readiness(reasons: string[]): Page {
  if (reasons.length === 0) return { status: 200, body: 'ready\n' };
  return { status: 503, body: reasons.map((reason) => `not ready: ${reason}\n`).join('') };
}

async function answer(pages: Pages, { method, url = '' }: IncomingMessage): Promise<Page> {
  const path = url.replace(/\?.*$/, '');
  const page = pages[path];
  if (!page) return { status: 404, body: `there are ${Object.keys(pages).join(', ')}\n` };
  return method === 'GET' || method === 'HEAD' ? await page() : { status: 405, body: 'GET only\n' };
}

function reply(response: ServerResponse, { status, body, type = 'text/plain; charset=utf-8' }: Page): void {
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' };
  response.writeHead(status, headers).end(body);
}

/** One at a time: who asks meanwhile gets the same answer. Envoy is asked no more often than it answers. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}

function listen(server: Server, address: HostPort, log: Parameters<typeof startObserve>[2]): { stop(): void } {
  const shown = { address: hostPort(address.host, address.port) };
  let retry: NodeJS.Timeout | undefined;
  let failed = false;
  server.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (!failed) log.error({ ...shown, code }, 'observe: this address cannot be used, it is tried again');
    failed = true;
    retry = setTimeout(() => server.listen(address), RETRY_MS);
  });
  server.on('listening', () => {
    if (failed) log.info(shown, 'observe: the address can be used now');
  });
  server.listen(address);
  return { stop: () => clearTimeout(retry) };
}
