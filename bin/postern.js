#!/usr/bin/env node
// In a clone: cli/postern.ts, with the pinned Node where this one does not run TypeScript. In a package: what the build made of it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const inClone = existsSync(new URL('../cli/postern.ts', import.meta.url));

if (!inClone) await import('../dist/cli/postern.js');
else if (process.features.typescript) await import('../cli/postern.ts');
else runWithPinnedNode();

function runWithPinnedNode() {
  const node = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(node)) {
    console.error('postern: run `npm ci` first (or use Node 24)');
    process.exit(1);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
