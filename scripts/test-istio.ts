import { envoyBinary } from '../cli/envoy-binary.ts';
import { FILTER, wasmBuild } from '../cli/wasm-build.ts';
import { skipReason } from '../test/istio/lab.ts';
import { type Check, conclude, vitest } from './lib/vitest.ts';

const say = (line: string) => console.log(`postern: ${line}`);

/** What takes a while the first time; only where the tests can run. */
async function prepare(): Promise<Check[]> {
  if (skipReason()) return [];
  try {
    process.env.ENVOY_BIN = await envoyBinary({ progress: say });
    await wasmBuild(FILTER, say);
    return [];
  } catch (error) {
    say((error as Error).message);
    return [['Envoy and the filter are there', false]];
  }
}

const prepared = await prepare();
const args = ['--config', 'test/istio/vitest.config.ts', ...process.argv.slice(2)];
process.exitCode = conclude(prepared, vitest(args));
