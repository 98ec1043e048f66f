import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { writeCaBundle } from '../../../envoy/ca-bundle.ts';
import { readConfig } from '../../config/config.ts';
import { ConfigMistakes } from '../../config/mistakes.ts';
import { meshFiles } from './run-dir.ts';

/**
 * Puts the filter and the CAs into the volume that istio-proxy shares, each by rename: when this container starts again, Envoy may be reading them.
 * @throws ConfigMistakes where FILE can't be read
 * @throws Error for a bad CA file, or where the volume can't be written
 */
export function prepare(configFile: string, runDir: string, filterFile: string): void {
  const files = meshFiles(runDir);
  mkdirSync(runDir, { recursive: true });
  copyFileSync(filterFile, `${files.filterFile}.new`);
  renameSync(`${files.filterFile}.new`, files.filterFile);
  // Only the section about TLS counts here; mistakes elsewhere are told by whoever uses the rest.
  const { draft, mistakes } = readConfig(configFile);
  if (!draft) throw new ConfigMistakes(mistakes);
  writeCaBundle(`${files.caFile}.new`, draft.tls.additionalCAs);
  renameSync(`${files.caFile}.new`, files.caFile);
}
