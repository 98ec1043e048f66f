// npm test: everything. Arguments after `--` go to vitest.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('scripts/test.ts');
