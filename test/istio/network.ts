import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../cli/run.ts';
import { RUN_DIR } from '../../sidecar-auth/kubernetes/istio/run-dir.ts';
import { ISTIOD } from './control-plane.ts';

const BRIDGE = 'postern-mesh';
const PREFIX = '10.231.77';
/** Of istiod and the mail servers: outside of all pods. */
export const OUTSIDE = `${PREFIX}.1`;

/** istio-proxy's user. What it sends is not redirected. */
export const PROXY_USER = '1337';

export interface Namespace {
  /** `ip netns` knows it by this. */
  name: string;
  address: string;
}

const ip = (...words: string[]) => run('ip', words);

/** A bridge with this machine on it, to which pods come. */
export async function createNetwork(): Promise<void> {
  await ip('link', 'add', BRIDGE, 'type', 'bridge');
  await ip('address', 'add', `${OUTSIDE}/24`, 'dev', BRIDGE);
  await ip('link', 'set', BRIDGE, 'up');
  await forwarding('-I');
}

/** Between pods: where Docker has been, this machine forwards nothing else, not even on a bridge. */
async function forwarding(change: '-I' | '-D'): Promise<void> {
  await run('iptables', [change, 'FORWARD', '-i', BRIDGE, '-o', BRIDGE, '-j', 'ACCEPT']);
}

/** Also what a run that was killed has left. */
export async function removeNetwork(pods: string[]): Promise<void> {
  for (const pod of pods) {
    await ip('netns', 'delete', namespaceOf(pod)).catch(() => {});
    rmSync(hostsFolder(pod), { recursive: true, force: true });
  }
  await ip('link', 'delete', BRIDGE).catch(() => {});
  await forwarding('-D').catch(() => {});
  for (const folder of [RUN_DIR, '/etc/netns']) removeIfEmpty(folder);
}

/** A network namespace on the bridge; `number` is the last of its address. */
export async function createNamespace(pod: string, number: number): Promise<Namespace> {
  const name = namespaceOf(pod);
  const address = `${PREFIX}.${number}`;
  const inside = (...words: string[]) => ip('-netns', name, ...words);
  const outer = `pmesh${number}`;
  mkdirSync(hostsFolder(pod), { recursive: true });
  writeFileSync(join(hostsFolder(pod), 'hosts'), `127.0.0.1 localhost\n${OUTSIDE} ${ISTIOD}\n`);
  await ip('netns', 'add', name);
  await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  await ip('link', 'set', outer, 'master', BRIDGE, 'up');
  await inside('address', 'add', `${address}/24`, 'dev', 'eth0');
  await inside('link', 'set', 'eth0', 'up');
  await inside('link', 'set', 'lo', 'up');
  await inside('route', 'add', 'default', 'via', OUTSIDE);
  return { name, address };
}

/** What istio-init does in a pod with a sidecar. */
export async function redirect({ name }: Namespace): Promise<void> {
  const rule = (...words: string[]) => ip('netns', 'exec', name, 'iptables', '-t', 'nat', '-A', ...words);
  await rule('PREROUTING', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15006');
  await rule('OUTPUT', '-o', 'lo', '-d', '127.0.0.0/8', '-j', 'RETURN');
  await rule('OUTPUT', '-m', 'owner', '--uid-owner', PROXY_USER, '-j', 'RETURN');
  await rule('OUTPUT', '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15001');
}

const namespaceOf = (pod: string) => `postern-${pod}`;

/** `ip netns exec` puts its files over those of /etc. */
const hostsFolder = (pod: string) => join('/etc/netns', namespaceOf(pod));

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Not there, or somebody else's.
  }
}
