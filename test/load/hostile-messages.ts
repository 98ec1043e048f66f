/** What the hostile test and its attacker tell each other. */

export const GREETING = '220 hostile.example ESMTP\r\n';

export type AttackRequest =
  /** A mail server that says this, and answers everything with that (octets in latin1). */
  | { greeting: string; serve: string }
  /** So many connections to this port, each of which sends this (latin1) and nothing more; answered when all are open. */
  | { open: number; port: number; says: string }
  | 'look'
  /** Closes all connections to Postern; answered when they are closed. */
  | 'leave';

/** What the connections that are, or were, open have come to. */
export interface Attackers {
  open: number;
  /** By the first line that was said after the greeting, or in its place; those that have heard none are not in it. */
  heard: Record<string, number>;
}

export type AttackAnswer = { port: number } | Attackers;
