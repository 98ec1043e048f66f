import type { Protocol } from './failure.ts';

/** Where the Connectivity Proxy's token comes from; files are read when the token is needed, so a rotated one is taken over. */
export type TokenSource =
  | { kind: 'none' }
  | { kind: 'file'; file: string }
  /**
   * A service binding (clientid, clientsecret, url): one JSON file, or a directory with one file per key. `tenant` is the subscriber's
   * subdomain; without it the token is the provider's.
   */
  | { kind: 'binding'; path: string; tenant?: string };

/** How the connection to the mail server is protected. */
export type Security =
  | { kind: 'none' }
  /** RFC 3207, RFC 2595: TLS begins when the server has agreed. */
  | { kind: 'starttls'; name: string; verify: boolean }
  /** TLS from the first byte (RFC 8314 section 3). */
  | { kind: 'tls'; name: string; verify: boolean };

/** What the relay needs to know of a route. */
export interface RelayTarget {
  /** The destination's name, for error texts and logs. */
  destination: string;
  /** The listener's, for metrics. */
  tenant?: string;
  protocol: Protocol;
  /** With `proxy` the Cloud Connector's virtual host, which is never resolved here; else a name or an IP literal. */
  host: string;
  port: number;
  /** CloudConnectorLocationId, not yet base64. */
  location?: string;
  /** Milliseconds until the connection must stand, TLS included. */
  connectTimeoutMs: number;
  /** The Connectivity Proxy; absent: the server is dialled directly. */
  proxy?: { host: string; port: number; token: TokenSource };
  security: Security;
  /** A connection that stands at the login is kept ready for the next session. */
  preconnect?: boolean;
  /** For an EHLO before STARTTLS (RFC 3207 section 4). */
  hello: string;
}
