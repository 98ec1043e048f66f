// npm run matrix: every kind of destination with every authentication, for real. See docs/matrix.md.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('scripts/matrix.ts');
