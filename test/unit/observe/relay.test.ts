import { once } from 'node:events';
import { expect, it } from 'vitest';
import { countedFamilies, keepDestinations } from '../../../sidecar-auth/observe/counted.ts';
import { openMetrics } from '../../../sidecar-auth/observe/openmetrics.ts';
import { app, bytes, deadPort, relay, server, untilEnd } from '../relay/world.ts';
import { readOpenMetrics, valuesOf } from './check.ts';

const read = () => readOpenMetrics(openMetrics(countedFamilies()));

async function place(destination: string) {
  const mail = await server((socket) => {
    socket.write('220 mail\r\n');
    socket.pipe(socket);
  });
  return relay({ destination, tenant: 'acme', host: '127.0.0.1', port: mail.port });
}

it('a session counts its octets while it runs, and stays counted when it has ended', async () => {
  const { socketPath } = await place('running');
  const labels = { destination: 'running', tenant: 'acme', protocol: 'smtp' };
  const carried = () =>
    valuesOf(read(), 'postern_relay_bytes')
      ?.filter(([{ destination }]) => destination === 'running')
      .map(([{ direction }, value]) => [direction, value]);
  const socket = app(socketPath);
  socket.write('NOOP\r\n');
  expect((await bytes(socket, 16)).toString()).toBe('220 mail\r\nNOOP\r\n');
  expect(valuesOf(read(), 'postern_relay_open_sessions')).toEqual([[labels, 1]]);
  const all = [
    ['to_server', 6],
    ['to_application', 16],
  ];
  expect(carried()).toEqual(all);
  socket.end();
  await untilEnd(socket);
  if (!socket.closed) await once(socket, 'close');
  await expect.poll(() => valuesOf(read(), 'postern_relay_open_sessions')).toBeUndefined();
  expect(carried()).toEqual(all);
  expect(valuesOf(read(), 'postern_relay_sessions')).toEqual([[{ ...labels, outcome: 'ok' }, 1]]);
  const phases = valuesOf(read(), 'postern_phase_seconds')?.filter(([{ le }]) => le === '+Inf');
  expect(phases).toEqual(['resolve', 'connect'].map((phase) => [{ phase, destination: 'running', le: '+Inf' }, 1]));
});

it('a session that comes to nothing counts its failure, and a destination that is gone is forgotten', async () => {
  const { socketPath } = await relay({ destination: 'dead', host: '127.0.0.1', port: await deadPort() });
  await untilEnd(app(socketPath));
  await untilEnd(app(socketPath, 'smtp-unknown'));
  const sessions = () => valuesOf(read(), 'postern_relay_sessions')?.filter(([{ outcome }]) => outcome !== 'ok');
  expect(sessions()).toEqual([
    [{ destination: 'dead', protocol: 'smtp', outcome: 'connect' }, 1],
    [{ outcome: 'internal' }, 1],
  ]);
  keepDestinations(new Set(['other']));
  expect(sessions()).toEqual([[{ outcome: 'internal' }, 1]]);
});
