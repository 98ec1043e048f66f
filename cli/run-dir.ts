import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootstrap } from '../envoy/bootstrap.ts';
import { writeCaBundle } from '../envoy/ca-bundle.ts';
import { connectSeconds } from '../envoy/limits.ts';
import { MAX_SOCKET_PATH, runDirFiles } from '../envoy/run-dir.ts';
import { StartFailure } from './start-failure.ts';

/** Octets that the longest name in the run directory adds to mkdtemp's prefix: `XXXXXX/fallback-smtp.sock`. */
const LONGEST_NAME = 26;

/**
 * Makes the run directory (mode 0700) with what Envoy reads. `loginTimeout` in seconds.
 * @throws StartFailure for a bad CA file
 */
export function makeRunDir(additionalCAs: string[], loginTimeout: number, temporary = tmpdir()): string {
  const prefix = join(temporary, 'postern-');
  const fits = Buffer.byteLength(prefix) + LONGEST_NAME <= MAX_SOCKET_PATH;
  const runDir = mkdtempSync(fits ? prefix : '/tmp/postern-');
  try {
    const files = runDirFiles(runDir);
    writeCaBundle(files.caFile, additionalCAs);
    const content = bootstrap({
      runDir,
      caFile: files.caFile,
      connectTimeoutSeconds: connectSeconds(loginTimeout),
    });
    writeFileSync(files.bootstrapFile, JSON.stringify(content), { mode: 0o600 });
    return runDir;
  } catch (cause) {
    rmSync(runDir, { recursive: true, force: true });
    throw new StartFailure((cause as Error).message, { cause });
  }
}

/** Also removes the listeners' Unix sockets, which stand elsewhere and which Envoy leaves behind. */
export function removeRunDir(runDir: string): void {
  for (const path of listenerSockets(runDir)) {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path, { force: true });
  }
  rmSync(runDir, { recursive: true, force: true });
}

function listenerSockets(runDir: string): string[] {
  try {
    const { resources } = JSON.parse(readFileSync(runDirFiles(runDir).listenersFile, 'utf8')) as {
      resources: { address: { pipe?: { path: string } } }[];
    };
    return resources.flatMap(({ address }) => address.pipe?.path ?? []);
  } catch {
    // sidecar-auth has not written it yet.
    return [];
  }
}
