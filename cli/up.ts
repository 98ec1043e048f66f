import { openSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { runDirFiles } from '../envoy/run-dir.ts';
import { loadConfig } from '../sidecar-auth/config/config.ts';
import { inTheWay } from '../sidecar-auth/listeners/in-the-way.ts';
import { startEnvoy, startSidecarAuth } from './children.ts';
import { envoyBinary } from './envoy-binary.ts';
import { filterBinary } from './filter-binary.ts';
import { makeRunDir } from './run-dir.ts';
import { type Running, startAll } from './start-all.ts';
import { StartFailure } from './start-failure.ts';

/** Each worker has a VM, a long poll and kept routes of its own; four carry more mail than any server behind takes. */
const MOST_WORKERS = 4;

export interface UpOptions {
  configFile: string;
  /** Envoy's worker threads; one per core, at most 4, by default. */
  workers?: number;
  /** What takes time, and what went wrong and is being put right: a line for people each. */
  progress?: (line: string) => void;
  /** Where Envoy and sidecar-auth log, appended; by default this process's standard error. */
  logFile?: string;
}

/**
 * Runs Postern until it is stopped: Envoy and sidecar-auth as children of this process, each started again when it ends.
 * Resolves when every listener accepts.
 * @throws ConfigMistakes when the configuration is wrong
 * @throws StartFailure when something else is in the way; nothing runs then
 */
export async function up(options: UpOptions): Promise<Running> {
  const { workers = Math.min(availableParallelism(), MOST_WORKERS), progress = () => {} } = options;
  const configFile = resolve(options.configFile);
  const config = loadConfig(configFile);
  const [filterFile, envoy] = await Promise.all([filterBinary(progress), envoyBinary({ progress })]);
  // Not before the downloads: it must still be true when Envoy starts.
  const addresses = [...config.listeners.map(({ address }) => address), ...(config.observe ? [config.observe] : [])];
  const taken = await Promise.all(addresses.map(inTheWay));
  if (taken.some((line) => line !== undefined)) throw new StartFailure(taken.filter((line) => line).join('\n'));
  const runDir = makeRunDir(config.tls.additionalCAs, config.loginTimeout);
  const { bootstrapFile } = runDirFiles(runDir);
  const log = options.logFile === undefined ? 2 : openSync(options.logFile, 'a', 0o600);
  return startAll({
    runDir,
    startHelper: () => startSidecarAuth({ configFile, runDir, filterFile, workers, log }),
    startEnvoy: () => startEnvoy(envoy, bootstrapFile, workers, log),
    log: progress,
  });
}
