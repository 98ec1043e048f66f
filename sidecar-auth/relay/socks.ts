import { isIPv4, isIPv6, type Socket } from 'node:net';
import { Failure } from '../failure.ts';
import { HOST_LIMIT, LOCATION_BASE64_LIMIT } from './limits.ts';
import { ATYP_DOMAIN, ATYP_IPV4, METHOD_JWT, METHOD_NONE, SocksAnswers } from './socks-answers.ts';
import type { TunnelTarget } from './tunnel.ts';

/** Both are always offered: which of them may be chosen depends on what is to be sent (socks-answers.ts). */
const GREETING = Buffer.from([5, 2, METHOD_NONE, METHOD_JWT]);

/**
 * SAP's authentication request: 01, the token's length in 4 octets, the token, the length in 1 octet of the location
 * id's base64 form, and that form. No token: length 0 (our choice, for proxies that trust the network).
 */
function authenticationRequest(token = '', location = ''): Buffer {
  const id = base64(location);
  const request = Buffer.alloc(6 + token.length + id.length);
  request.writeUInt8(1, 0);
  request.writeUInt32BE(token.length, 1);
  request.write(token, 5, 'latin1');
  request.writeUInt8(id.length, 5 + token.length);
  request.write(id, 6 + token.length, 'latin1');
  return request;
}

function base64(location: string): string {
  return Buffer.from(location, 'utf8').toString('base64');
}

/** Throws a Failure. */
export function checkLocation(location = ''): void {
  if (base64(location).length > LOCATION_BASE64_LIMIT) throw unusable('the location id is longer than 189 octets');
}

/** The Connectivity Proxy takes domain names and IPv4 addresses only. Throws a Failure. */
export function checkHost(host: string): void {
  if (isIPv6(host.replace(/^\[(.*)\]$/, '$1'))) throw unusable('an IPv6 address cannot be reached on-premise');
  if (!/^[\x21-\x7e]+$/.test(host)) throw unusable('the host must be printable ASCII (xn-- for other letters)');
  if (host.length > HOST_LIMIT) throw unusable(`the host is longer than ${HOST_LIMIT} octets`);
}

/** RFC 1928 section 4: CONNECT. The host is one that `checkHost` lets through. */
function connectRequest(host: string, port: number): Buffer {
  const address = isIPv4(host)
    ? [ATYP_IPV4, ...host.split('.').map(Number)]
    : [ATYP_DOMAIN, host.length, ...Buffer.from(host, 'latin1')];
  return Buffer.from([5, 1, 0, ...address, port >> 8, port & 0xff]);
}

/**
 * The SOCKS5 handshake on a connected socket with an 'error' listener of its own. It leaves the socket paused, with what came behind the
 * proxy's reply in it. Rejects with a Failure; the socket is then of no use.
 */
export function handshake(socket: Socket, target: TunnelTarget, token: string | undefined): Promise<void> {
  const answers = new SocksAnswers({ token: token !== undefined, location: Boolean(target.location) });
  const requests = {
    authentication: () => authenticationRequest(token, target.location),
    reply: () => connectRequest(target.host, target.port),
  };
  return new Promise((resolve, reject) => {
    const settle = (failure?: unknown) => {
      socket.pause().off('data', onData).off('end', onEnd).off('close', onEnd);
      if (failure) reject(failure);
      else resolve();
    };
    const onData = (chunk: Buffer) => {
      try {
        const next = answers.push(chunk);
        if (next === 'authentication' || next === 'reply') socket.write(requests[next]());
        if (next !== 'done') return;
        settle();
        if (answers.rest.length > 0) socket.unshift(answers.rest);
      } catch (failure) {
        settle(failure);
      }
    };
    const onEnd = () => settle(closedEarly(answers.phase));
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
    socket.write(GREETING);
  });
}

function closedEarly(phase: SocksAnswers['phase']): Failure {
  const where = { method: 'greeting', authentication: 'authentication', reply: 'request', done: 'reply' }[phase];
  return new Failure('socks', `the Connectivity Proxy closed the connection after the ${where}`);
}

function unusable(text: string): Failure {
  return new Failure('socks', text, { retry: false });
}
