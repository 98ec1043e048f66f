import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Failure } from '../failure.ts';
import { timed } from '../observe/counted.ts';
import type { RelayTarget } from '../relay-target.ts';
import { before } from './deadline.ts';
import { reason } from './direct.ts';
import { socketOptions } from './socket-options.ts';
import { checkHost, checkLocation, handshake } from './socks.ts';
import { AuthenticationRefused } from './socks-answers.ts';
import type { Tokens } from './token.ts';

/** A target behind the Connectivity Proxy. */
export type TunnelTarget = RelayTarget & Required<Pick<RelayTarget, 'proxy'>>;

export function isTunnelTarget(target: RelayTarget): target is TunnelTarget {
  return target.proxy !== undefined;
}

/**
 * Token, TCP connection and SOCKS5 handshake; the socket is paused then. Rejects with a Failure of code token, connect or socks, and
 * leaves no socket behind.
 */
export async function connectThroughProxy(target: TunnelTarget, tokens: Tokens, signal: AbortSignal): Promise<Socket> {
  // What can't be sent is known before any token is asked for.
  checkHost(target.host);
  checkLocation(target.location);
  const { destination, proxy } = target;
  const token = await timed('token', destination, () =>
    before(signal, tokens.get(proxy.token), () => late('token', target)),
  );
  const socket = connect({ host: proxy.host, port: proxy.port, ...socketOptions });
  socket.on('error', () => {}); // from its creation on; failures are told by the phase in which they happen
  try {
    await timed('connect', destination, () => before(signal, connected(socket, target), () => late('connect', target)));
    await timed('socks', destination, () =>
      before(signal, handshake(socket, target, token), () => late('socks', target)),
    );
    return socket;
  } catch (failure) {
    socket.destroy();
    if (failure instanceof AuthenticationRefused) tokens.refused(proxy.token, token);
    throw failure;
  }
}

async function connected(socket: Socket, target: TunnelTarget): Promise<void> {
  try {
    await once(socket, 'connect');
  } catch (cause) {
    const what = reason(cause as NodeJS.ErrnoException);
    throw new Failure('connect', `the Connectivity Proxy ${place(target)} ${what}`, { cause });
  }
}

const LATE = {
  token: () => 'no token for the Connectivity Proxy',
  connect: (target: TunnelTarget) => `the Connectivity Proxy ${place(target)} did not answer`,
  socks: () => 'the Connectivity Proxy did not finish the SOCKS5 handshake',
};

function late(code: keyof typeof LATE, target: TunnelTarget): Failure {
  return new Failure(code, `${LATE[code](target)} within ${target.connectTimeoutMs} ms`);
}

function place(target: TunnelTarget): string {
  return `at ${target.proxy.host}:${target.proxy.port}`;
}
