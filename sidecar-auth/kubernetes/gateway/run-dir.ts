import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap } from '../../../envoy/bootstrap.ts';
import { writeCaBundle } from '../../../envoy/ca-bundle.ts';
import { connectSeconds } from '../../../envoy/limits.ts';
import { MAX_SOCKET_PATH, runDirFiles } from '../../../envoy/run-dir.ts';

/** The longest name of a socket in it: the listener that is there without any resource, see files.ts. */
const PLACEHOLDER = 'no-destination.sock';

/**
 * Where both containers of the pod meet: a volume in memory that only they mount, both as one user. Returns the placeholder's socket.
 * @throws Error where it can't be made
 */
export function openRunDir(runDir: string): string {
  const placeholder = join(runDir, PLACEHOLDER);
  if (Buffer.byteLength(placeholder) > MAX_SOCKET_PATH)
    throw new Error(`the run directory's path is too long for sockets: ${runDir}`);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  return placeholder;
}

/**
 * Writes Envoy's configuration and the CAs there, each by rename, for where only this container starts again Envoy is running. Envoy reads them when it starts, and
 * wants a listeners file: it must start after this.
 * @throws Error for a bad CA file
 */
export function writeBootstrap(runDir: string, additionalCAs: string[], loginTimeout: number): void {
  const { caFile, bootstrapFile, listenersFile } = runDirFiles(runDir);
  if (!existsSync(listenersFile)) writeFileSync(listenersFile, JSON.stringify({ resources: [] }), { mode: 0o600 });
  writeCaBundle(`${caFile}.new`, additionalCAs);
  renameSync(`${caFile}.new`, caFile);
  const content = bootstrap({ runDir, caFile, connectTimeoutSeconds: connectSeconds(loginTimeout) });
  writeFileSync(`${bootstrapFile}.new`, JSON.stringify(content), { mode: 0o600 });
  renameSync(`${bootstrapFile}.new`, bootstrapFile);
}
