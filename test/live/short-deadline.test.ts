// A login time shorter than the connect time that Envoy has by default: the app still gets its error before the close.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, test } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';

/** A socket whose backlog is full and which nobody accepts from: a connection to it is never answered. */
const HOLE = `
import socket, sys
hole = socket.socket(); hole.bind(('127.0.0.1', 0)); hole.listen(0)
waiting = []
for _ in range(4):
  one = socket.socket(); one.setblocking(False); one.connect_ex(hole.getsockname()); waiting.append(one)
print(hole.getsockname()[1], flush=True); sys.stdin.read()`;

let hole: ChildProcess | undefined;
let running: Running | undefined;
const folder = mkdtempSync(join(tmpdir(), 'deadline-'));

afterAll(async () => {
  await running?.stop();
  hole?.kill();
  rmSync(folder, { recursive: true, force: true });
});

test('a server that never answers, and three seconds for the login', async () => {
  const child = spawn('python3', ['-c', HOLE], { stdio: ['pipe', 'pipe', 'inherit'] });
  hole = child;
  const port = await new Promise<number>((resolve) => child.stdout.once('data', (line) => resolve(Number(line))));
  mkdirSync(join(folder, 'd'));
  const destination = {
    Name: 'hole',
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'NoAuthentication',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': port,
    'mail.smtp.starttls.enable': false,
  };
  writeFileSync(join(folder, 'd', 'hole.json'), JSON.stringify(destination));
  const socket = join(folder, 'app.sock');
  const file = {
    destinations: { directory: './d' },
    loginTimeout: 3,
    listeners: [{ destination: 'hole', address: socket }],
  };
  const configFile = join(folder, 'postern.yaml');
  writeFileSync(configFile, JSON.stringify(file));
  running = await up({ configFile, workers: 1, logFile: join(folder, 'log') });
  const seen = await text(connect(socket));
  expect(seen).toBe(`421 4.4.1 postern: hole: connect: no connection to 127.0.0.1:${port}\r\n`);
}, 120_000);
