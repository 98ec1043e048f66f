import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEnvoy } from '../../../cli/children.ts';
import { envoyBinary } from '../../../cli/envoy-binary.ts';
import { type Running, startAll } from '../../../cli/start-all.ts';
import { envoyState } from '../../../envoy/admin.ts';
import { bootstrap } from '../../../envoy/bootstrap.ts';
import { writeCaBundle } from '../../../envoy/ca-bundle.ts';
import { type RunDirFiles, runDirFiles } from '../../../envoy/run-dir.ts';

const STAND_INS = join(import.meta.dirname, 'stand-ins');

let folder: string;
let runDir: string;
let files: RunDirFiles;
let envoy: string;
let running: Running | undefined;
let log: string[];
let children: ChildProcess[];

beforeEach(async () => {
  envoy = await envoyBinary();
  folder = mkdtempSync(join(tmpdir(), 'postern-'));
  runDir = mkdtempSync(join(folder, 'run-'));
  files = runDirFiles(runDir);
  writeCaBundle(files.caFile, []);
  writeFileSync(files.bootstrapFile, JSON.stringify(bootstrap({ runDir, caFile: files.caFile })));
  log = [];
  children = [];
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** A listener without the filter, at a Unix socket: enough to see that Envoy has read the file. */
function listeners(path: string): string {
  const filter = {
    name: 'envoy.filters.network.direct_response',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config',
      response: { inline_string: 'hello' },
    },
  };
  const listener = {
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: path,
    address: { pipe: { path } },
    filter_chains: [{ filters: [filter] }],
  };
  return JSON.stringify({ resources: [listener] });
}

async function start(content: string, binary = envoy): Promise<Running> {
  const helper = [join(STAND_INS, 'helper.mjs'), files.listenersFile, content];
  running = await startAll({
    runDir,
    startHelper: () => note(spawn(process.execPath, helper, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })),
    startEnvoy: () => note(startEnvoy(binary, files.bootstrapFile, 1, 2)),
    log: (line) => log.push(line),
  });
  return running;
}

function note(child: ChildProcess): ChildProcess {
  children.push(child);
  return child;
}

function child(index: number): ChildProcess {
  const found = children.at(index);
  if (!found) throw new Error(`there are ${children.length} children only`);
  return found;
}

function isAlive(pid = 0): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function greeting(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

describe('while it runs', () => {
  test('listeners and fallbacks answer as soon as it is started', async () => {
    const path = join(folder, 'l.sock');
    await start(listeners(path));
    expect(await greeting(path)).toBe('hello');
    expect(await greeting(join(runDir, 'fallback-smtp.sock'))).toMatch(/^421 4\.4\.1 postern: .*\r\n$/);
    expect(await greeting(join(runDir, 'fallback-imap.sock'))).toMatch(/^\* BYE \[UNAVAILABLE\] postern: .*\r\n$/);
    expect(await greeting(join(runDir, 'fallback-pop3.sock'))).toMatch(/^-ERR \[SYS\/TEMP\] postern: .*\r\n$/);
  });

  test('a helper that dies is started again, and Envoy goes on', async () => {
    const { helperPid } = await start('{"resources":[]}');
    const before = helperPid();
    const [helper, proxy] = children;
    helper?.kill('SIGKILL');
    await expect.poll(helperPid, { timeout: 5000 }).not.toBe(before);
    await once(child(-1), 'message');
    expect(isAlive(helperPid())).toBe(true);
    expect(proxy?.exitCode).toBe(null);
    expect(log[0]).toMatch(/^sidecar-auth ended \(SIGKILL\); it is started again in 100 ms$/);
  });

  test('an Envoy that dies is started again', async () => {
    const { adminSocket } = await start('{"resources":[]}');
    const before = child(-1);
    before.kill('SIGKILL');
    await once(before, 'exit');
    const started = () => envoyState(adminSocket).catch(() => undefined);
    await expect.poll(started, { timeout: 10_000 }).toMatchObject({ started: true });
    expect(child(-1).pid).not.toBe(before.pid);
    expect(log[0]).toMatch(/^Envoy ended/);
  });
});

describe('stopped', () => {
  test('nothing is left: no process, no run directory, no socket', async () => {
    const path = join(folder, 'l.sock');
    const { stop, ended } = await start(listeners(path));
    expect([existsSync(path), existsSync(runDir)]).toEqual([true, true]);
    await Promise.all([stop(), stop()]);
    expect(await ended).toBe(0);
    expect(children.map(({ pid }) => isAlive(pid))).toEqual([false, false]);
    expect([existsSync(path), existsSync(runDir)]).toEqual([false, false]);
    expect(log).toEqual([]);
  });

  test('while a dead helper waits for its next start, that is called off', async () => {
    const { stop } = await start('{"resources":[]}');
    child(0).kill('SIGKILL');
    await once(child(0), 'exit');
    expect(log.length).toBe(1);
    await stop();
    // Longer than the pause before the next start: nothing else would show that there is none.
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(children.length).toBe(2);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('by %s: exit code 0', async (signal) => {
    const parent = spawn(process.execPath, [join(STAND_INS, 'postern.ts'), runDir, envoy], {
      stdio: ['ignore', 'pipe', 2],
    });
    const [line] = await once(parent.stdout as Readable, 'data');
    parent.kill(signal);
    parent.kill(signal); // as npm and the terminal do: no second Ctrl-C
    expect(await once(parent, 'exit')).toEqual([0, null]);
    expect((JSON.parse(String(line)) as number[]).map(isAlive)).toEqual([false, false]);
    expect(existsSync(runDir)).toBe(false);
  });
});

describe('not started', () => {
  test('a helper that ends at once', async () => {
    await expect(start('broken')).rejects.toThrow('sidecar-auth ended before it was ready');
    expect(children.length).toBe(1);
    expect(existsSync(runDir)).toBe(false);
  });

  test('an Envoy that can not be started', async () => {
    await expect(start('{"resources":[]}', join(folder, 'nothing'))).rejects.toThrow('Envoy ended before it was ready');
    expect(isAlive(child(0).pid)).toBe(false);
    expect(existsSync(runDir)).toBe(false);
  });

  test('a listener that Envoy refuses', async () => {
    await expect(start(listeners('/nowhere/l.sock'))).rejects.toThrow('Envoy refused a listener');
    expect(children.map(({ pid }) => isAlive(pid))).toEqual([false, false]);
  });
});
