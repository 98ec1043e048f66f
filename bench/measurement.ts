import type { Result } from './result.ts';

/** What one `npm run bench` brings: its JSON file. */
export interface Measurement {
  /** ISO 8601, of the start. */
  date: string;
  seconds: number;
  quick: boolean;
  /** Names of the cases, where not all were run. */
  only?: string[];
  rounds: number;
  /** What was measured; undefined outside a clone. */
  commit?: string;
  /** Whether files differed from that commit. */
  dirty: boolean;
  machine: Machine;
  /** By program. */
  versions: Record<string, string>;
  /** Arms that were left out. */
  missing: Missing[];
  /** Cases that brought nothing. */
  failures: Failure[];
  results: Result[];
}

export interface Machine {
  cpu: string;
  processors: number;
  memoryGiB: number;
  kernel: string;
}

export interface Missing {
  arm: string;
  reason: string;
}

export interface Failure {
  case: string;
  error: string;
}

/** docs/performance.md is made of such a one only. */
export function isWhole({ quick, only, failures }: Measurement): boolean {
  return !quick && only === undefined && failures.length === 0;
}
