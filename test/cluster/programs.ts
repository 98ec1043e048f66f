import { homedir } from 'node:os';
import { join } from 'node:path';
import { findProgram, isExecutable } from '../../cli/find-program.ts';

/** Where binaries are kept whose builds take minutes. */
const FOLDER = join(process.env.LAB || join(homedir(), '.cache', 'lab'), 'bin');

const NAMES = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl', 'helm', 'openssl'] as const;

export type Program = (typeof NAMES)[number];

/** Its path; the kept one first, for an older kubectl may come with a distribution. */
export function program(name: Program): string {
  return find(name) ?? name;
}

/** Why there can be no cluster here; undefined where there can. */
export function skipReason(): string | undefined {
  const missing = NAMES.filter((name) => find(name) === undefined);
  if (missing.length === 0) return undefined;
  return `${missing.join(', ')} missing in PATH and in ${FOLDER}: test/cluster/README.md says where they come from`;
}

function find(name: Program): string | undefined {
  return isExecutable(kept(name)) ? kept(name) : findProgram(name);
}

/** Where it is, if it was built for these tests. */
export function kept(name: string): string {
  return join(FOLDER, name);
}
