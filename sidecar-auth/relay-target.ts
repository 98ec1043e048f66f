import type { Protocol } from './failure.ts';

/** Where the Connectivity Proxy's token comes from; files are read when the token is needed, so a rotated one is taken over. */
export type TokenSource =
  | { kind: 'none' }
  | { kind: 'file'; file: string }
  /** A service binding (clientid, clientsecret, url): one JSON file, or a directory with one file per key. */
  | { kind: 'binding'; path: string };

/** What the relay needs to know of a route. `host` is the Cloud Connector's virtual host and is never resolved here. */
export interface RelayTarget {
  /** The destination's name, for error texts and logs. */
  destination: string;
  protocol: Protocol;
  host: string;
  port: number;
  /** CloudConnectorLocationId, not yet base64. */
  location?: string;
  /** Milliseconds until the connection through the proxy must stand. */
  connectTimeoutMs: number;
  proxy: { host: string; port: number; token: TokenSource };
}
