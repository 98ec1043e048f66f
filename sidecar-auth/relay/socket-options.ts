import { KEEP_ALIVE_MS } from './limits.ts';

/** Of every connection towards a mail server. */
export const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_MS,
} as const;
