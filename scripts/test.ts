import { envoyBinary } from '../cli/envoy-binary.ts';
import { FILTER, PROTOCOL, wasmBuild } from '../cli/wasm-build.ts';
import { mailServers } from './lib/mail-servers.ts';
import { type Check, conclude, program, runs, vitest } from './lib/vitest.ts';

const say = (line: string) => console.log(`postern: ${line}`);

async function prepares(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    say((error as Error).message);
    return false;
  }
}

/** vitest's processes find Envoy by ENVOY_BIN, so that no two of them download it. */
async function prepare(): Promise<Check[]> {
  const skip = mailServers(say);
  if (skip) process.env.POSTERN_LIVE_SKIP = skip;
  return [
    ['the filter compiles', await prepares(() => wasmBuild(FILTER, say))],
    ['the machines compile without imports', await prepares(() => wasmBuild(PROTOCOL, say))],
    [
      'Envoy is there',
      await prepares(async () => {
        process.env.ENVOY_BIN = await envoyBinary({ progress: say });
      }),
    ],
  ];
}

function checks(): Check[] {
  say('checking style and types ...');
  return [
    ['biome check', runs(program('biome'), ['check', '--error-on-warnings'])],
    ['tsc', runs(program('tsc'), ['-p', '.'])],
  ];
}

const prepared = await prepare();
process.exitCode = conclude([...prepared, ...checks()], vitest(process.argv.slice(2)));
