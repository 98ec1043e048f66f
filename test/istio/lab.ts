import { findProgram, isExecutable } from '../../cli/find-program.ts';
import { kept } from '../cluster/programs.ts';

const BINARIES = ['kube-apiserver', 'kubectl', 'pilot-discovery', 'pilot-agent', 'istioctl'] as const;
const PROGRAMS = ['etcd', 'openssl', 'ip', 'iptables', 'setpriv'];

export function binary(name: (typeof BINARIES)[number]): string {
  return kept(name);
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
