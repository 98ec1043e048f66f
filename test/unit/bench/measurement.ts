import type { Measurement } from '../../../bench/measurement.ts';
import type { Result } from '../../../bench/result.ts';

/** Postern needs 1.1 times Envoy's CPU in the median of three rounds, and has its rate. nginx was not there. */
export const SESSIONS: Result = {
  name: 'sessions smtp 16',
  title: 'SMTP, 16 at once, Basic',
  metrics: {
    cpu: { title: 'CPU per session', unit: 'µs' },
    rate: { title: 'sessions per second', unit: '1/s' },
    load: { title: 'processors: load', unit: '%' },
    server: { title: 'processors: server', unit: '%' },
  },
  arms: {
    direct: [{ rate: 4000.4, load: 40, server: 35 }],
    envoy: [
      { cpu: 200, rate: 2000, load: 20, server: 17 },
      { cpu: 400, rate: 1000, load: 21, server: 18 },
      { cpu: 100, rate: 1500, load: 22, server: 19 },
    ],
    postern: [
      { cpu: 220, rate: 2000, load: 20, server: 17 },
      { cpu: 400, rate: 1000, load: 21, server: 18 },
      { cpu: 120, rate: 1500, load: 22, server: 19 },
    ],
  },
  goals: [
    { text: 'CPU against plain Envoy', metric: 'cpu', arm: 'postern', base: 'envoy', atMost: 1.05 },
    { text: 'sessions/s against plain Envoy', metric: 'rate', arm: 'postern', base: 'envoy', atLeast: 1 },
    { text: 'CPU against nginx', metric: 'cpu', arm: 'postern', base: 'nginx', atMost: 0.9 },
    { text: 'CPU as it is', metric: 'cpu', arm: 'postern', atMost: 300 },
  ],
  notes: ['nginx is left out: it needs nginx.'],
};

export const MEASUREMENT: Measurement = {
  date: '2026-11-25T12:00:00.000Z',
  seconds: 1100,
  quick: false,
  rounds: 3,
  commit: '0123456789abcdef0123456789abcdef01234567',
  dirty: false,
  machine: { cpu: 'Some Processor', processors: 2, memoryGiB: 7.75, kernel: '6.1.0' },
  versions: { Envoy: '1.40.0', Node: '24.0.0' },
  missing: [{ arm: 'nginx', reason: 'nginx and its mail module need root to be installed and started' }],
  failures: [],
  results: [SESSIONS],
};
