import type { Socket } from 'node:net';
import type { RelayTarget } from '../../relay-target.ts';
import { Negotiation } from './negotiation.ts';

/**
 * Brings the server to the point at which TLS begins, and leaves the socket paused there. Attaches its 'data' listener before it
 * returns. Rejects with a Failure; the socket is then of no use.
 */
export function negotiate(socket: Socket, target: RelayTarget, signal: AbortSignal): Promise<void> {
  const negotiation = new Negotiation(target.protocol, target.hello);
  return new Promise((resolve, reject) => {
    const settle = (failure?: unknown) => {
      signal.removeEventListener('abort', onAbort);
      socket.pause().off('data', onData).off('end', onEnd).off('close', onEnd);
      if (failure) reject(failure);
      else resolve();
    };
    const onData = (chunk: Buffer) => {
      try {
        const { send, tls } = negotiation.push(chunk);
        if (send !== undefined) socket.write(send);
        if (tls) settle();
      } catch (failure) {
        settle(failure);
      }
    };
    const onEnd = () => settle(negotiation.closed());
    const onAbort = () => settle(negotiation.late(target.connectTimeoutMs));
    signal.addEventListener('abort', onAbort, { once: true });
    // Behind a proxy it was paused.
    socket.on('data', onData).once('end', onEnd).once('close', onEnd).resume();
    if (signal.aborted) onAbort();
  });
}
