// npm run test:cluster: Postern's operator and gateways on a real Kubernetes control plane. Arguments after `--` go to vitest.
import { installIfNeeded } from './lib/install.mjs';
import { runPinned } from './lib/pinned.mjs';

installIfNeeded();
runPinned('scripts/test-cluster.ts');
