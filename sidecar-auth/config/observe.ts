import { type HostPort, readHostPort } from './address.ts';
import type { Section } from './section.ts';

/** What sidecar-auth logs: this and what is worse. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const OBSERVE_ADDRESS = 'IP:PORT or [IPv6]:PORT, for example 127.0.0.1:9494';

/** Key `observe` of FILE: where health and metrics are served. */
export function readObserve(section: Section): HostPort | undefined {
  const text = section.text('observe');
  if (text === undefined) return undefined;
  return readHostPort(text, OBSERVE_ADDRESS, (what) => section.mistake('observe', what));
}

/** Key `log` of FILE. */
export function readLog(section: Section | undefined): LogLevel {
  const level = section?.choice('level', LOG_LEVELS);
  section?.finish();
  return level ?? 'info';
}
