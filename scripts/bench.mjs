// npm run bench: Postern beside plain Envoy and other proxies, measured on this machine. See docs/performance.md.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('scripts/bench.ts');
