import type { Socket } from 'node:net';
import { Failure, type Protocol } from '../../failure.ts';
import type { RelayTarget } from '../../relay-target.ts';
import { before } from '../deadline.ts';
import { type Dialled, dial, type Means } from '../dial.ts';
import { greetingState } from './greeting.ts';

/** A connection that has its greeting behind it, whoever's that is. Rejects with a Failure, and leaves no socket behind. */
export async function openSpare(target: RelayTarget, means: Means, signal: AbortSignal): Promise<Dialled> {
  const dialled = await dial(target, means, signal);
  if (dialled.greeting !== '') return dialled;
  const { socket } = dialled;
  try {
    const greeting = await before(signal, readGreeting(socket, target.protocol), () => noGreeting('in time'));
    return { socket, greeting };
  } catch (failure) {
    socket.destroy();
    throw failure;
  }
}

/** Leaves the socket paused behind the greeting. */
function readGreeting(socket: Socket, protocol: Protocol): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const settle = (failure?: Failure) => {
      socket.pause().off('data', onData).off('end', onEnd).off('close', onEnd);
      if (failure) reject(failure);
      else resolve(text);
    };
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const state = greetingState(protocol, text);
      if (state !== 'incomplete') settle(state === 'whole' ? undefined : noGreeting('after which it waits'));
    };
    const onEnd = () => settle(noGreeting('before it closed the connection'));
    socket.on('data', onData).once('end', onEnd).once('close', onEnd).resume();
  });
}

function noGreeting(how: string): Failure {
  return new Failure('server_greeting', `the server sent no greeting ${how}`);
}
