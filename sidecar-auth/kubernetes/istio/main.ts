import { parseArgs } from 'node:util';
import { prepare } from './prepare.ts';

/**
 * `node main.ts` with the arguments of sidecar-auth's own main.ts, beside istio-proxy: prepares the shared volume, and then is sidecar-auth. The listeners file
 * that this writes is read by nobody but itself, after a restart: here istiod tells Envoy its listeners.
 */
const { values } = parseArgs({
  // sidecar-auth refuses what it does not know.
  strict: false,
  options: { config: { type: 'string' }, 'run-dir': { type: 'string' }, filter: { type: 'string' } },
});
const { config, 'run-dir': runDir, filter } = values;
if (typeof config === 'string' && typeof runDir === 'string' && typeof filter === 'string') {
  prepare(config, runDir, filter);
}
await import('../../main.ts');
