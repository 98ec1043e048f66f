// Every worker answers a refused connect: each has a VM, a number and a queue of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, test } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { askAdmin } from '../../envoy/admin.ts';

let running: Running | undefined;
const folder = mkdtempSync(join(tmpdir(), 'workers-'));

afterAll(async () => {
  await running?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('two workers, connections at once, nobody at the server: each gets the error', async () => {
  mkdirSync(join(folder, 'd'));
  const destination = {
    Name: 'nobody',
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'NoAuthentication',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': 1,
    'mail.smtp.starttls.enable': false,
  };
  writeFileSync(join(folder, 'd', 'nobody.json'), JSON.stringify(destination));
  const socket = join(folder, 'app.sock');
  // A limit of its own brings the exact balance, so that both workers have their share.
  const listeners = [{ destination: 'nobody', address: socket, maxConnections: 1000 }];
  const configFile = join(folder, 'postern.yaml');
  writeFileSync(configFile, JSON.stringify({ destinations: { directory: './d' }, listeners }));
  running = await up({ configFile, workers: 2, logFile: join(folder, 'log') });
  const seen = await Promise.all(Array.from({ length: 40 }, () => text(connect(socket))));
  expect(new Set(seen)).toEqual(new Set(['421 4.4.1 postern: nobody: connect: no connection to 127.0.0.1:1\r\n']));
  const stats = await askAdmin(running.adminSocket, '/stats?filter=memory_bytes');
  expect(stats.match(/postern\.vm\.\d+\.memory_bytes/g)).toHaveLength(2);
}, 120_000);
