import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/paths.ts';
import { FILTER } from '../../cli/wasm-build.ts';
import { askAdmin } from '../../envoy/admin.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import type { Daemon } from '../live/daemon.ts';
import { Wire } from '../live/wire.ts';
import { type Cluster, GATEWAY_NAMESPACE } from './cluster.ts';
import { eventually } from './eventually.ts';
import { startProgram } from './start-program.ts';

const GATEWAY = join(ROOT, 'sidecar-auth', 'kubernetes', 'gateway', 'main.ts');

export interface GatewayOptions {
  cluster: Cluster;
  name: string;
  /** Its pod's address: the whole of 127.0.0.0/8 is this machine. */
  address: string;
  /** CAs that mail servers' certificates are of. */
  caFile: string;
  managedNamespaces: string;
}

/** A pod of the gateway: sidecar-auth with the rights of its service account, and Envoy. */
export class GatewayPod {
  readonly address: string;
  readonly logs: string[];

  private constructor(address: string, logs: string[]) {
    this.address = address;
    this.logs = logs;
  }

  static async start({ cluster, name, address, caFile, managedNamespaces }: GatewayOptions): Promise<GatewayPod> {
    const directory = join(cluster.directory, name);
    mkdirSync(directory);
    const runDir = join(directory, 'run');
    const base = join(directory, 'base.yaml');
    writeFileSync(base, JSON.stringify({ tls: { additionalCAs: [caFile] }, loginTimeout: 5 }));
    const log = (part: string) => join(directory, `${part}.log`);
    const start = async (part: string, command: string[], env = {}): Promise<Daemon> =>
      cluster.keep(await startProgram(command, log(part), env));
    const words = ['--folder', join(directory, 'private'), '--run-dir', runDir, '--filter', join(ROOT, FILTER.output)];
    const more = ['--gateway-namespace', GATEWAY_NAMESPACE, '--managed-namespaces', managedNamespaces];
    const place = ['--config', base, '--address', address, '--allow-loopback'];
    const env = { KUBECONFIG: cluster.plane.kubeconfig('gateway'), XDG_STATE_HOME: join(directory, 'state') };
    await start('sidecar-auth', [process.execPath, GATEWAY, ...words, ...more, ...place], env);
    const { bootstrapFile, adminSocket } = runDirFiles(runDir);
    await eventually(
      'sidecar-auth is ready',
      async () => (readFileSync(log('sidecar-auth'), 'utf8').includes('"ready"') ? true : undefined),
      { log: log('sidecar-auth') },
    );
    const drain = ['--drain-time-s', '86400', '--parent-shutdown-time-s', '86460'];
    const envoy = process.env.ENVOY_BIN ?? 'envoy';
    await start('envoy', [
      envoy,
      '-c',
      bootstrapFile,
      '--concurrency',
      '1',
      '--disable-hot-restart',
      '--log-level',
      'warning',
      ...drain,
    ]);
    await eventually('Envoy is ready', async () => ((await askAdmin(adminSocket, '/ready')) ? true : undefined), {
      log: log('envoy'),
    });
    return new GatewayPod(address, [log('sidecar-auth'), log('envoy')]);
  }

  /** As an app that the Service has led here. */
  connect(port: number): Promise<Wire> {
    return Wire.open(port, undefined, this.address);
  }
}
