import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They need a control plane, minutes and root: npm run test:cluster and npm run test:istio.
    exclude: ['test/cluster/**', 'test/istio/**'],
    // Processes, not threads: tests start children, and the wheel's Envoy ends with the thread that started it.
    pool: 'forks',
    // Grants of tests are not the user's.
    env: { XDG_STATE_HOME: join(import.meta.dirname, 'build', 'test-state') },
    // Real Envoys and mail servers run beside the tests.
    maxWorkers: 2,
    // A test has Envoy, a mail server and a login to wait for, on a busy machine; a hook may start all of them.
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
