import type { Socket } from 'node:net';

/**
 * Joins two sockets with allowHalfOpen and 'error' listeners: bytes, back-pressure and each end of stream are passed on.
 * When one of them breaks, the other still gets what was received before, and is then closed.
 */
export function splice(one: Socket, other: Socket): void {
  one.pipe(other);
  other.pipe(one);
  closeAlong(one, other);
  closeAlong(other, one);
}

function closeAlong(one: Socket, other: Socket): void {
  one.once('close', () => {
    if (one.readableEnded && one.writableFinished) return; // both ends of stream were passed on by pipe
    other.resume();
    other.destroySoon();
  });
}
