// npm run test:istio: Postern in an Istio mesh. Arguments after `--` go to vitest.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('scripts/test-istio.ts');
