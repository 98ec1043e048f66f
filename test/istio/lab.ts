import { homedir } from 'node:os';
import { join } from 'node:path';
import { findProgram, isExecutable } from '../../cli/find-program.ts';

/** Where the control planes' binaries are kept, each a build of many minutes. */
const FOLDER = join(process.env.LAB || join(homedir(), '.cache', 'lab'), 'bin');

const BINARIES = ['kube-apiserver', 'kubectl', 'pilot-discovery', 'pilot-agent', 'istioctl'] as const;
const PROGRAMS = ['etcd', 'openssl', 'ip', 'iptables', 'setpriv'];

export function binary(name: (typeof BINARIES)[number]): string {
  return join(FOLDER, name);
}

/** Why a mesh can't run here; undefined where it can. */
export function skipReason(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'network namespaces need root on Linux';
  const missing = [
    ...BINARIES.filter((name) => !isExecutable(binary(name))).map((name) => binary(name)),
    ...PROGRAMS.filter((name) => !findProgram(name)),
  ];
  return missing.length > 0 ? `not there: ${missing.join(', ')}` : undefined;
}
