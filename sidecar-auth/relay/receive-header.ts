import type { Socket } from 'node:net';
import { PROXY_HEADER_MS } from './limits.ts';
import { type ProxyHeader, readProxyHeader } from './proxy-header.ts';

/**
 * Takes the PROXY header off the start of a connection and leaves the socket paused, with the app's first bytes in it.
 * Undefined: no correct header came in time.
 */
export function receiveHeader(socket: Socket): Promise<ProxyHeader | undefined> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const finish = (header?: ProxyHeader) => {
      clearTimeout(timer);
      socket.pause().off('data', onData).off('end', onEnd).off('close', onEnd);
      if (header && received.length > header.length) socket.unshift(received.subarray(header.length));
      resolve(header);
    };
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const header = readProxyHeader(received);
      if (header !== 'incomplete') finish(header === 'malformed' ? undefined : header);
    };
    const onEnd = () => finish();
    const timer = setTimeout(onEnd, PROXY_HEADER_MS);
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
  });
}
