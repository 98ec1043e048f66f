// Stands in for `postern up`, with a stand-in sidecar-auth: `postern.ts RUN-DIR ENVOY`. Says the processes' ids.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startEnvoy } from '../../../../cli/children.ts';
import { onStopSignals } from '../../../../cli/signals.ts';
import { startAll } from '../../../../cli/start-all.ts';
import { bootstrap } from '../../../../envoy/bootstrap.ts';
import { writeCaBundle } from '../../../../envoy/ca-bundle.ts';
import { runDirFiles } from '../../../../envoy/run-dir.ts';

const [runDir = '', envoy = ''] = process.argv.slice(2);
const files = runDirFiles(runDir);
writeCaBundle(files.caFile, []);
writeFileSync(files.bootstrapFile, JSON.stringify(bootstrap({ runDir, caFile: files.caFile })));
const helper = [join(import.meta.dirname, 'helper.mjs'), files.listenersFile, '{"resources":[]}'];
const pids: (number | undefined)[] = [];
const running = await startAll({
  runDir,
  startHelper: () => note(spawn(process.execPath, helper, { detached: true, stdio: ['ignore', 2, 2, 'ipc'] })),
  startEnvoy: () => note(startEnvoy(envoy, files.bootstrapFile, 1, 2)),
  log: console.error,
});
onStopSignals(
  () => void running.stop(),
  () => process.exit(130),
);
console.log(JSON.stringify(pids));
process.exitCode = await running.ended;

function note<T extends { pid?: number | undefined }>(child: T): T {
  pids.push(child.pid);
  return child;
}
