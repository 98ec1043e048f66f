import { envoyBinary } from '../../cli/envoy-binary.ts';
import { FILTER, wasmBuild } from '../../cli/wasm-build.ts';
import { type Check, conclude, vitest } from './vitest.ts';

const say = (line: string) => console.log(`postern: ${line}`);

/** What takes a while the first time. */
async function prepare(): Promise<Check[]> {
  try {
    process.env.ENVOY_BIN = await envoyBinary({ progress: say });
    await wasmBuild(FILTER, say);
    return [];
  } catch (error) {
    say((error as Error).message);
    return [['Envoy and the filter are there', false]];
  }
}

/**
 * Runs the tests of a folder that start a control plane; this process's arguments go to vitest.
 * @param skipReason why they can't run here: they are counted as skipped then, and need nothing
 * @returns the exit code
 */
export async function testControlPlane(folder: string, skipReason: string | undefined): Promise<number> {
  const prepared = skipReason === undefined ? await prepare() : [];
  return conclude(prepared, vitest(['--config', `${folder}/vitest.config.ts`, ...process.argv.slice(2)]));
}
