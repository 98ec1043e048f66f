import type { Socket } from 'node:net';
import { type Failure, greetingReply, type Protocol } from '../failure.ts';
import { LINGER_MS } from './limits.ts';

/**
 * Tells the app one protocol error in place of a greeting and ends the stream. What the app still sends is dropped until it
 * ends its side too: a close with its bytes unread is a reset, which can destroy the line on its way.
 */
export function refuse(app: Socket, protocol: Protocol, destination: string, failure: Failure): void {
  app.end(greetingReply(protocol, destination, failure));
  app.resume();
  const timer = setTimeout(() => app.destroy(), LINGER_MS);
  app.once('close', () => clearTimeout(timer));
}
