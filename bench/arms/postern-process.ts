import { readFileSync, writeFileSync } from 'node:fs';
import { startEnvoy, startSidecarAuth } from '../../cli/children.ts';
import { envoyBinary } from '../../cli/envoy-binary.ts';
import { filterBinary } from '../../cli/filter-binary.ts';
import { makeRunDir } from '../../cli/run-dir.ts';
import { startAll } from '../../cli/start-all.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import { loadConfig } from '../../sidecar-auth/config/config.ts';

// `postern up` in a process of its own, which tells the process ids of its parts. Arguments: FILE, the number of workers, and
// what to change in Envoy's configuration, if anything.
const [, , configFile = '', workers, edit] = process.argv;
const config = loadConfig(configFile);
const [filterFile, envoy] = await Promise.all([filterBinary(), envoyBinary()]);
const runDir = makeRunDir(config.tls.additionalCAs, config.loginTimeout);
const { bootstrapFile, adminSocket } = runDirFiles(runDir);
if (edit === 'shared-pool') sharePools(bootstrapFile);

const pids = { envoy: 0, helper: 0 };
const count = Number(workers);
const running = await startAll({
  runDir,
  startHelper: () => {
    const child = startSidecarAuth({ configFile, runDir, filterFile, workers: count, log: 2 });
    pids.helper = child.pid ?? 0;
    return child;
  },
  startEnvoy: () => {
    const child = startEnvoy(envoy, bootstrapFile, count, 2);
    pids.envoy = child.pid ?? 0;
    return child;
  },
  log: console.error,
});

const end = async () => {
  await running.stop();
  process.exit(0);
};
process.on('message', end);
process.once('disconnect', end);
process.send?.({ ...pids, adminSocket, runDir });

/** One pool for all connections of apps, where Postern has one for each: the arm that shows what that costs. */
function sharePools(file: string): void {
  const content = JSON.parse(readFileSync(file, 'utf8'));
  for (const cluster of content.static_resources.clusters) {
    if (cluster.name.startsWith('postern-direct')) delete cluster.connection_pool_per_downstream_connection;
  }
  writeFileSync(file, JSON.stringify(content));
}
