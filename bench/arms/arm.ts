export const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Worker threads of every Envoy, and processes of every server that has such a setting. */
export const WORKERS = 2;

/** A proxy that runs between the load and the mail server, on 127.0.0.1. */
export interface Arm {
  name: string;
  /** Where it listens, without TLS. A protocol that it can't do is missing. */
  ports: Partial<Record<Protocol, number>>;
  /** All processes whose CPU and memory count. */
  pids(): number[];
  /** Resolves when they are gone. */
  stop(): Promise<void>;
}

export interface ArmOptions {
  /** An existing, empty folder of its own; 0711 afterwards where a proxy's processes run as other users. */
  directory: string;
  /** Ports of the mail server on 127.0.0.1, by `smtp`, `smtps`, `imap`, `imaps`, `pop3` and `pop3s`. */
  upstream: Record<string, number>;
  /** PEM file with the CA of the server's certificate, which names `localhost` and 127.0.0.1. */
  ca: string;
  /** Access token of the account, for the arms that log in with one. */
  token?: string;
}

/** The mail server's one account (tool/account.go). Applications log in at a proxy with the same. */
export const ACCOUNT = { user: 'bench@example.org', password: 'bench-password' };
