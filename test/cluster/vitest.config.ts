import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.ts';

/** `npm run test:cluster`. Each file starts a control plane of its own, so they are not part of `npm test`, and run one after the other. */
export default defineConfig({
  test: {
    ...base.test,
    include: ['test/cluster/**/*.test.ts'],
    exclude: [],
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
