// npm run build: dist/ as it is packed. An installed package needs neither a compiler nor a Node that runs TypeScript.
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/paths.ts';
import { run } from '../cli/run.ts';
import { FILTER, wasmBuild } from '../cli/wasm-build.ts';

const dist = join(ROOT, 'dist');
rmSync(dist, { recursive: true, force: true });
await run(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json'], { cwd: ROOT });
copyFileSync(await wasmBuild(FILTER, console.log), join(dist, 'filter.wasm'));
