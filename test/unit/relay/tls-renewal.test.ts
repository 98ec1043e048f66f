import type { TLSSocket } from 'node:tls';
import { expect, it, vi } from 'vitest';
import { TlsSessions } from '../../../sidecar-auth/relay/tls-sessions.ts';
import { authority, certificate, contextOf, echo, NAME, relayTo, TLS, tlsServer } from './secure-world.ts';
import { afterwards, app, bytes } from './world.ts';

/** The relay's own ends: Node's server sends no new session after a resumed handshake, as Go's and BoringSSL's do. */
const dialled = vi.hoisted((): TLSSocket[] => []);
vi.mock('node:tls', async (original) => {
  const tls = await original<typeof import('node:tls')>();
  const connect = (options: import('node:tls').ConnectionOptions) => {
    const socket = tls.connect(options);
    dialled.push(socket);
    return socket;
  };
  return { ...tls, connect };
});

it('a session that comes after a resumed handshake lasts no longer than the one before', async () => {
  const ca = await authority();
  const place = await tlsServer(contextOf(await certificate(ca)), echo('220 mail\r\n'));
  const { socketPath } = await relayTo(place, ca.ca, { security: TLS });
  const keep = vi.spyOn(TlsSessions.prototype, 'keep');
  afterwards(() => vi.restoreAllMocks());
  for (let i = 0; i < 2; i++) await bytes(app(socketPath), '220 mail\r\n'.length);
  expect(place.resumed).toEqual([false, true]);
  const renewed = Buffer.from('renewed');
  dialled[1]?.emit('session', renewed);
  const [first, last] = [keep.mock.calls[0]?.[1], keep.mock.calls.at(-1)?.[1]];
  expect(Math.abs((first?.until ?? 0) - Date.now() - 3_600_000)).toBeLessThan(10_000);
  expect(last).toEqual({ ...first, session: renewed });
  expect(last?.certificate.subjectaltname).toBe(`DNS:${NAME}`);
});
