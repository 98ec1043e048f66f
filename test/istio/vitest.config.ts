import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.ts';

/** `npm run test:istio`. These tests start control planes, and so are not part of `npm test`. */
export default defineConfig({
  test: { ...base.test, include: ['test/istio/**/*.test.ts'], exclude: [], testTimeout: 60_000 },
});
