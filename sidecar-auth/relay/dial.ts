import type { Socket } from 'node:net';
import type { RelayTarget } from '../relay-target.ts';
import type { Resolve } from '../route/resolve.ts';
import { connectDirectly } from './direct.ts';
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

/**
 * A connection to the mail server with the target's security, all of it under one deadline: the signal. What has come of the server already
 * is in the socket. Rejects with a Failure, and leaves no socket behind.
 */
export async function dial(target: RelayTarget, means: Means, signal: AbortSignal): Promise<Socket> {
  const socket = isTunnelTarget(target)
    ? await connectThroughProxy(target, means.tokens, signal)
    : await connectDirectly(target, means.resolve, signal);
  const { security } = target;
  if (security.kind === 'none') return socket;
  try {
    if (security.kind === 'starttls') await negotiate(socket, target, signal);
    return await means.tls.secure(socket, target, security, signal);
  } catch (failure) {
    socket.destroy();
    throw failure;
  }
}
