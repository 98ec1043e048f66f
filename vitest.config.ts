import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Processes, not threads: tests start children, and the wheel's Envoy ends with the thread that started it.
    pool: 'forks',
    // Real Envoys and mail servers run beside the tests.
    maxWorkers: 2,
    // A test has Envoy, a mail server and a login to wait for, on a busy machine; a hook may start all of them.
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
