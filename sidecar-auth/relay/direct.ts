import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostPort } from '../config/address.ts';
import { Failure } from '../failure.ts';
import { timed } from '../observe/counted.ts';
import type { RelayTarget } from '../relay-target.ts';
import type { Resolve } from '../route/resolve.ts';
import { before } from './deadline.ts';
import { ATTEMPT_DELAY_MS } from './limits.ts';
import { socketOptions } from './socket-options.ts';

/** A TCP connection to the mail server itself. Rejects with a Failure of code resolve or connect, and leaves no socket behind. */
export async function connectDirectly(target: RelayTarget, resolve: Resolve, signal: AbortSignal): Promise<Socket> {
  const { destination, host, port, connectTimeoutMs } = target;
  const late = (code: 'resolve' | 'connect', places: string[]) =>
    new Failure(code, `${places.join(' and ')} did not answer within ${connectTimeoutMs} ms`);
  const { addresses } = await timed('resolve', destination, () =>
    before(signal, resolve(host), () => late('resolve', [`the name server for ${host}`])),
  );
  const places = addresses.map((address) => hostPort(address, port));
  const attempts: Attempt[] = [];
  try {
    const winner = await timed('connect', destination, () =>
      before(signal, race(addresses, port, attempts, signal), () => late('connect', places)),
    );
    attempts.splice(
      attempts.findIndex(({ socket }) => socket === winner),
      1,
    );
    return winner;
  } catch (error) {
    throw error instanceof Failure ? error : refused(places, error as AggregateError);
  } finally {
    for (const { socket } of attempts) socket.destroy();
  }
}

interface Attempt {
  socket: Socket;
  /** Rejects with the socket's error. */
  connected: Promise<Socket>;
}

/**
 * RFC 8305 section 5, for the two addresses that a name has here: the next is tried when the one before has failed or is slow, and the
 * first that answers wins. (Node's own autoSelectFamily gives an attempt up as soon as it is slow.)
 */
async function race(addresses: string[], port: number, attempts: Attempt[], signal: AbortSignal): Promise<Socket> {
  for (const host of addresses) {
    if (signal.aborted) break;
    attempts.push(attempt(host, port));
    if (attempts.length === addresses.length) break;
    const first = await Promise.race([anyOf(attempts).catch(() => undefined), sleep(ATTEMPT_DELAY_MS)]);
    if (first) return first;
  }
  return await anyOf(attempts);
}

function attempt(host: string, port: number): Attempt {
  const socket = connect({ host, port, ...socketOptions });
  socket.on('error', () => {}); // from its creation on; failures are told by the phase in which they happen
  return { socket, connected: once(socket, 'connect').then(() => socket) };
}

function anyOf(attempts: Attempt[]): Promise<Socket> {
  return Promise.any(attempts.map(({ connected }) => connected));
}

/** Errors stand in the order of the attempts. */
function refused(places: string[], { errors }: AggregateError): Failure {
  const told = (errors as NodeJS.ErrnoException[]).map((error, index) => `${places[index]} ${reason(error)}`);
  return new Failure('connect', told.join(', '), { cause: errors[0] });
}

/** What happened, for a sentence whose subject is the place. */
export function reason({ code = 'unknown error' }: NodeJS.ErrnoException): string {
  return code === 'ECONNREFUSED' ? 'refused the connection' : `cannot be reached (${code})`;
}
