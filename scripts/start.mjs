// npm start: the demo world with Postern in front of it.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('demo/start.ts');
