import { join } from 'node:path';
import { runDirFiles } from '../../../envoy/run-dir.ts';

/** Where istio-proxy and sidecar-auth meet: a volume in memory that only these two containers of the pod mount. */
export const RUN_DIR = '/run/postern';

export interface MeshFiles {
  runDir: string;
  helperSocket: string;
  relaySocket: string;
  caFile: string;
  filterFile: string;
}

/** What EnvoyFilters name, and what sidecar-auth puts there before istio-proxy starts: Envoy looks for a missing file only once. */
export function meshFiles(runDir = RUN_DIR): MeshFiles {
  return { ...runDirFiles(runDir), runDir, filterFile: join(runDir, 'filter.wasm') };
}
