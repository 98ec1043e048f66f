/** Envoy's limits, each with its reason. The limits that an app can meet are the filter's own (docs/contract.md, `limit`). */

/**
 * Connections of all apps together. As many as one listener may be given, far above the 10,000 that it gets by default, so that the filter's
 * clear error comes first; a session takes 2 to 4 open files. Above it Envoy closes new connections without a word.
 */
export const MAX_DOWNSTREAM_CONNECTIONS = 100_000;

/**
 * Connections, waiting connections and requests of one cluster. Envoy's default of 1,024 closes the 1,025th session without a byte;
 * MAX_DOWNSTREAM_CONNECTIONS sessions can't reach this, for each has one connection upstream at a time.
 */
export const MAX_CLUSTER_CONNECTIONS = 100_000;

/**
 * Octets that Envoy holds per connection and direction before it stops reading. As much as the longest thing that the filter holds back
 * during a login (256 KiB of the app's bytes), small enough that
 * thousands of stuck sessions are not the end of the machine (Envoy's default is 1 MiB).
 */
export const BUFFER_OCTETS = 256 * 1024;

/**
 * tcp_proxy's connect attempts: two addresses need up to 5 until the fallback has its turn, one address needs 2 and ends there. The same for
 * every listener, because a change of it drains the listener.
 */
export const CONNECT_ATTEMPTS = 5;

/**
 * Connections to a server with `mail.<protocol>.preconnect`, in relation to those in use (Envoy allows 1 to 3). Servers count connections that have
 * not logged in, and end them after 30 s to 5 minutes: no more than one or two may stand idle for a few busy ones.
 */
export const PRECONNECT_RATIO = 1.5;

/** Seconds without a byte in either direction until a session ends. */
export const IDLE_SECONDS = 7_200;

/** Seconds after which a silent peer is probed: below the 4 to 6 minutes after which NAT gateways forget a connection. */
export const KEEPALIVE_SECONDS = 120;

/** Seconds that an idle connection to sidecar-auth lives. sidecar-auth never closes one itself, so no request meets a closing connection. */
export const HELPER_IDLE_SECONDS = 3;

/** Seconds for one attempt to connect, at most: SAP's own limit for its services. */
const CONNECT_SECONDS = 5;
/** Two addresses are tried one after the other, and the error must reach the app before the login's deadline closes the connection. */
const CONNECT_SHARE = 0.4;

/** Seconds for one attempt to connect, TCP and TLS together. `loginTimeout` in seconds. Envoy refuses a Duration of more than nine decimals. */
export function connectSeconds(loginTimeout: number): number {
  return Math.min(CONNECT_SECONDS, Math.round(loginTimeout * CONNECT_SHARE * 1000) / 1000);
}
