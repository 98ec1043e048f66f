import { type LookupOptions, lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import { Failure } from './failure.ts';

/**
 * Time limits that SAP documents for its own proxy's calls to the Destination service (connectionTimeoutSeconds,
 * readTimeoutSeconds).
 */
const CONNECT_MS = 5_000;
const READ_MS = 10_000;

/** One request from the name look-up to the answer's last byte: an answer that trickles must end too. */
const REQUEST_MS = CONNECT_MS + READ_MS;

/**
 * Requests in all where an answer is missing: a short fault is bridged, and an app still waits at its login
 * meanwhile.
 */
const ATTEMPTS = 3;

/** Longest wait before the second request; it doubles for each further one. */
const WAIT_MS = 200;

export interface FetchOptions {
  /** PEM text of every CA that is trusted: it replaces the system's. Absent: the system's. */
  ca?: string;
  /** PEM text of a client certificate chain and its key (RFC 8705). Both or neither. */
  cert?: string;
  key?: string;
}

/**
 * A fetch of its own connections: 5 s to connect, 10 s for headers and between parts of a body, 15 s in all.
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY hold, as they are set when this is called, but never for this machine: a proxy
 * would get the secrets of plain HTTP. Redirects are not followed: they would carry the request's secrets to another host.
 * @throws Error where a proxy's variable is not a URL
 */
export function createFetch({ ca, cert, key }: FetchOptions = {}): typeof fetch {
  const trust = { timeout: CONNECT_MS, lookup: lookupLocalhost, ...(ca !== undefined && { ca }) };
  const tls = { ...trust, ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
  const limits = { headersTimeout: READ_MS, bodyTimeout: READ_MS };
  const direct = new Agent({ ...limits, connect: tls });
  // To the proxy itself the client certificate is not shown.
  const elsewhere = proxied(() => new EnvHttpProxyAgent({ ...limits, connect: tls, requestTls: tls, proxyTls: trust }));
  const limited = (input: string | URL, init: RequestInit = {}) => {
    const late = AbortSignal.timeout(REQUEST_MS);
    const signal = init.signal ? AbortSignal.any([init.signal, late]) : late;
    const dispatcher = isThisMachine(new URL(input)) ? direct : elsewhere;
    return undiciFetch(input, { redirect: 'manual', ...init, signal, dispatcher } as Parameters<typeof undiciFetch>[1]);
  };
  return limited as unknown as typeof fetch;
}

/**
 * RFC 6761 section 6.3: names under localhost are this machine, which not every resolver knows. Tenants of a demo are
 * such names.
 */
const lookupLocalhost: LookupFunction = (name, options: LookupOptions, callback) =>
  lookup(name.endsWith('.localhost') ? 'localhost' : name, options, callback as never);

/** RFC 6761 section 6.3, RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3; the URL parser has written IP addresses in their one form. */
function isThisMachine({ hostname }: URL): boolean {
  return /^(127(\.\d+){3}|\[::1\]|([^.]+\.)*localhost\.?)$/.test(hostname);
}

/**
 * A service's address from a configuration: https, or http to this machine (for tests and demos), for secrets travel
 * in the requests. Undefined where `text` is something else, or carries credentials of its own.
 */
export function secureUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || url.username || url.password) return undefined;
  const local = /^(127\.0\.0\.1|\[::1\]|([a-z0-9-]+\.)*localhost)$/.test(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && local) ? url : undefined;
}

/** The URL parser's own error carries its input, in which a password may stand. */
function proxied<T>(create: () => T): T {
  try {
    return create();
  } catch {
    throw new Error('HTTP_PROXY or HTTPS_PROXY is not a URL');
  }
}

/**
 * The service is down: no connection, no answer in time, a fault of its own (5xx), too much asked of it (429), or
 * something in its place that is not the service. What was learnt before may go on being used.
 */
export class Outage extends Failure {}

/** Fetches of one trust, each with a client certificate of its own where one is given. */
export type FetchWith = (client?: { cert: string; key: string }) => typeof fetch;

/** One fetch without a client certificate for all who need none, so that they share connections. */
export function fetchesOf(options: { ca?: string } = {}): FetchWith {
  const plain = createFetch(options);
  return (client) => (client ? createFetch({ ...options, ...client }) : plain);
}

export interface Retries {
  /**
   * `any`: also after a 5xx answer or a connection that broke. `unsent`: only where no connection was made, for
   * requests that use something up (an authorization code, a refresh token that rotates). Default `any`.
   */
  after?: 'any' | 'unsent';
  /** For tests: waits `ms` milliseconds. */
  wait?: (ms: number) => Promise<unknown>;
}

/**
 * Asks again, at most twice, after connection errors and 5xx answers. Waits are random ("full jitter"), so that many
 * who failed together do not come back together. Time-outs are not asked again: they have used up the time that an
 * app waits. The last answer or error is the caller's.
 */
export function retrying(once: typeof fetch, { after = 'any', wait = sleep }: Retries = {}): typeof fetch {
  return async (input, init) => {
    for (let attempt = 1; ; attempt++) {
      const outcome = await settled(once(input, init));
      if (attempt === ATTEMPTS || !isWorthAnother(outcome, after)) return unwrap(outcome);
      if (outcome.response) await outcome.response.body?.cancel(); // or its connection stays busy
      await wait(Math.random() * WAIT_MS * 2 ** (attempt - 1));
    }
  };
}

type Outcome = { response: Response; error?: undefined } | { response?: undefined; error: unknown };

function settled(work: Promise<Response>): Promise<Outcome> {
  return work.then(
    (response) => ({ response }),
    (error) => ({ error }),
  );
}

function unwrap({ response, error }: Outcome): Response {
  if (response) return response;
  throw error;
}

function isWorthAnother({ response, error }: Outcome, after: 'any' | 'unsent'): boolean {
  if (response) return after === 'any' && response.status >= 500;
  const code = connectionError(error);
  if (code === undefined || TIMED_OUT.test(code)) return false;
  return after === 'any' || UNSENT.test(code);
}

const TIMED_OUT = /TIMEOUT|TIMEDOUT/;
const UNSENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;

/**
 * The code of an error that came from the way to the server (ECONNREFUSED, UND_ERR_SOCKET, CERT_HAS_EXPIRED, ...), or
 * undefined for any other error.
 */
export function connectionError(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name === 'TimeoutError') return 'TIMEOUT';
  const { cause } = error as { cause?: { code?: unknown; errors?: { code?: unknown }[] } };
  // Several addresses that all failed give one error with the others inside.
  const code = cause?.code ?? cause?.errors?.[0]?.code;
  return typeof code === 'string' ? code : undefined;
}
