import type { Socket } from 'node:net';
import { timed } from '../observe/counted.ts';
import type { RelayTarget } from '../relay-target.ts';
import type { Resolve } from '../route/resolve.ts';
import { connectDirectly } from './direct.ts';
import { ownGreeting } from './starttls/greeting.ts';
import { negotiate } from './starttls/negotiate.ts';
import type { TlsClient } from './tls.ts';
import type { Tokens } from './token.ts';
import { connectThroughProxy, isTunnelTarget } from './tunnel.ts';

/** What outlives a connection. */
export interface Means {
  tokens: Tokens;
  resolve: Resolve;
  tls: TlsClient;
}

export interface Dialled {
  /** Paused. What has come of the server already is in it. */
  socket: Socket;
  /** What the app hears before anything of the socket, latin1. Empty: the server's greeting is still to come. */
  greeting: string;
}

/**
 * A connection to the mail server with the target's security, all of it under one deadline: the signal. Rejects with a Failure, and leaves
 * no socket behind.
 */
export async function dial(target: RelayTarget, means: Means, signal: AbortSignal): Promise<Dialled> {
  const socket = await connect(target, means, signal);
  return { socket, greeting: target.security.kind === 'starttls' ? ownGreeting(target) : '' };
}

async function connect(target: RelayTarget, means: Means, signal: AbortSignal): Promise<Socket> {
  const socket = isTunnelTarget(target)
    ? await connectThroughProxy(target, means.tokens, signal)
    : await connectDirectly(target, means.resolve, signal);
  const { security, destination } = target;
  if (security.kind === 'none') return socket;
  try {
    if (security.kind === 'starttls') await timed('starttls', destination, () => negotiate(socket, target, signal));
    return await timed('tls', destination, () => means.tls.secure(socket, target, security, signal));
  } catch (failure) {
    socket.destroy();
    throw failure;
  }
}
