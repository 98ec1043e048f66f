/** What the test and its processes tell each other. */

export interface Account {
  user: string;
  password: string;
}

/** What one server has seen since its start. */
export interface Seen {
  connections: number;
  /** Sessions in which the account of this very server logged in. */
  logins: number;
  /** Logins of anyone else, or with another password. */
  wrongLogins: number;
  /** MAIL after a login. */
  mails: number;
  /** MAIL without a login, and every command that no session of this test has. */
  violations: number;
  /** QUIT, answered. */
  quits: number;
  /** Sessions that were logged in at the same time. */
  mostAtOnce: number;
}

export type ServerRequest = { start: Account[] } | { ask: 'seen' };
export type ServerAnswer = { ports: number[] } | { seen: Seen[] };

/** `together`: all sessions are open and answered before the first one is ended. Otherwise one after the other. */
export interface ClientRequest {
  ports: number[];
  count: number;
  together: boolean;
}

/** `errors`: the first ones, and how many there were. */
export type ClientAnswer = { progress: number } | { done: number; failed: number; errors: string[] };
