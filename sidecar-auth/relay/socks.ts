import { isIPv6, type Socket } from 'node:net';
import { SocksClient, type SocksClientOptions } from 'socks';
import { Failure } from '../failure.ts';
import { HOST_LIMIT, LOCATION_BASE64_LIMIT } from './limits.ts';
import { METHOD_JWT, SocksAnswers } from './socks-answers.ts';
import type { TunnelTarget } from './tunnel.ts';

/**
 * SAP's authentication request: 01, the token's length in 4 octets, the token, the length in 1 octet of the location
 * id's base64 form, and that form. No token: length 0 (our choice, for proxies that trust the network).
 */
export function authenticationRequest(token: string | undefined, location: string | undefined): Buffer {
  const jwt = Buffer.from(token ?? '', 'latin1');
  const id = Buffer.from(Buffer.from(location ?? '', 'utf8').toString('base64'), 'latin1');
  if (id.length > LOCATION_BASE64_LIMIT) throw unusable('the location id is longer than 189 octets');
  const head = Buffer.alloc(5);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(jwt.length, 1);
  return Buffer.concat([head, jwt, Buffer.from([id.length]), id]);
}

/** The Connectivity Proxy takes domain names and IPv4 addresses only. Throws a Failure. */
export function checkHost(host: string): void {
  if (isIPv6(host.replace(/^\[(.*)\]$/, '$1'))) throw unusable('an IPv6 address cannot be reached on-premise');
  // npm `socks` counts characters where the wire counts octets, so a name must have as many of the one as of the other.
  if (!/^[\x21-\x7e]+$/.test(host)) throw unusable('the host must be printable ASCII (xn-- for other letters)');
  if (host.length > HOST_LIMIT) throw unusable(`the host is longer than ${HOST_LIMIT} octets`);
}

/**
 * The SOCKS5 handshake on a connected socket with an 'error' listener of its own. When it resolves, the caller must
 * attach its 'data' listener in the same turn: `socks` emits what came with the reply as a 'data' event right after it.
 * Rejects with a Failure; the socket is then of no use.
 */
export function handshake(socket: Socket, target: TunnelTarget, token: string | undefined): Promise<void> {
  const answers = new SocksAnswers({ token: token !== undefined, location: Boolean(target.location) });
  const options = clientOptions(socket, target, authenticationRequest(token, target.location));
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      try {
        answers.push(chunk);
      } catch (failure) {
        reject(failure);
        socket.destroy(); // before `socks`, whose listener comes next, can answer
      }
    };
    const onEnd = () => reject(closedEarly(answers.phase));
    socket.on('data', onData);
    socket.once('end', onEnd);
    socket.once('close', onEnd);
    SocksClient.createConnection(options)
      .then(
        () => resolve(),
        () => reject(closedEarly(answers.phase)),
      )
      .finally(() => socket.off('data', onData).off('end', onEnd).off('close', onEnd));
  });
}

function clientOptions(socket: Socket, target: TunnelTarget, request: Buffer): SocksClientOptions {
  return {
    command: 'connect',
    existing_socket: socket,
    destination: { host: target.host, port: target.port },
    timeout: target.connectTimeoutMs, // our own deadline comes first; `socks` keeps its closure until then (default 30 s)
    proxy: {
      host: target.proxy.host,
      port: target.proxy.port,
      type: 5,
      custom_auth_method: METHOD_JWT,
      custom_auth_request_handler: async () => request, // must not throw: nobody there catches it
      custom_auth_response_size: 2,
      custom_auth_response_handler: async (answer) => answer[1] === 0,
    },
  };
}

function closedEarly(phase: SocksAnswers['phase']): Failure {
  const where = { method: 'greeting', authentication: 'authentication', reply: 'request', done: 'reply' }[phase];
  return new Failure('socks', `the Connectivity Proxy closed the connection after the ${where}`);
}

function unusable(text: string): Failure {
  return new Failure('socks', text, { retry: false });
}
