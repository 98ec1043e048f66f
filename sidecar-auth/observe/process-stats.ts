import type { Family } from './openmetrics.ts';

/** Of sidecar-auth's own process, under the names that all of Prometheus' libraries give them. */
export function processFamilies(): Family[] {
  const { user, system } = process.cpuUsage();
  return [
    one('process_cpu_seconds', 'counter', 'CPU time that sidecar-auth has used.', (user + system) / 1e6),
    one('process_resident_memory_bytes', 'gauge', 'Memory of sidecar-auth.', process.memoryUsage.rss()),
    one('process_start_time_seconds', 'gauge', 'When sidecar-auth started, since 1970.', performance.timeOrigin / 1000),
  ];
}

function one(name: string, type: Family['type'], help: string, value: number): Family {
  return { name, type, help, samples: [{ labels: {}, value }] };
}
