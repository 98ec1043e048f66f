import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { envoyState } from '../envoy/admin.ts';
import { type RunDirFiles, runDirFiles } from '../envoy/run-dir.ts';
import { SIDECAR_AUTH } from './paths.ts';
import { StartFailure } from './start-failure.ts';

/** Seconds that sessions of a deleted or moved listener live on: a day, so that changes of the configuration cut nobody in practice. */
const DRAIN_SECONDS = 86_400;

/** Milliseconds until Envoy stands: 1,000 listeners took 2.3 s, and the machine may be busy. */
const ENVOY_READY_TIMEOUT = 60_000;

/** Milliseconds between two looks at Envoy while it starts. */
const ENVOY_LOOK = 20;

/** Own process groups: Ctrl-C in a terminal must reach `postern` alone, which then stops them in order. All output is log. */
const OPTIONS = { detached: true, windowsHide: true };

export interface SidecarAuthOptions {
  configFile: string;
  runDir: string;
  filterFile: string;
  workers: number;
  /** File descriptor for what it logs. */
  log: number;
}

/** The IPC channel says when it is ready; it also ends sidecar-auth when this process is gone. */
export function startSidecarAuth(options: SidecarAuthOptions): ChildProcess {
  const { configFile, runDir, filterFile, workers, log } = options;
  const { adminSocket } = runDirFiles(runDir);
  const paths = ['--config', configFile, '--run-dir', runDir, '--filter', filterFile, '--envoy-admin', adminSocket];
  const args = [...paths, '--workers', String(workers)];
  // getaddrinfo can't be cancelled: a few names with dead name servers must not take all of libuv's threads (4 by default).
  const env = { UV_THREADPOOL_SIZE: '16', ...process.env };
  return spawn(process.execPath, [SIDECAR_AUTH, ...args], { ...OPTIONS, env, stdio: ['ignore', log, log, 'ipc'] });
}

export function sidecarAuthReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on('message', (message: { ready?: unknown }) => {
      if (message.ready === true) resolve();
    });
  });
}

export function startEnvoy(binary: string, bootstrapFile: string, workers: number, log: number): ChildProcess {
  const drain = ['--drain-time-s', String(DRAIN_SECONDS), '--parent-shutdown-time-s', String(DRAIN_SECONDS + 60)];
  const args = ['--concurrency', String(workers), '--disable-hot-restart', '--log-level', 'warning', ...drain];
  return spawn(binary, ['-c', bootstrapFile, ...args], { ...OPTIONS, stdio: ['ignore', log, log] });
}

/** Resolves when every listener of the listeners' file accepts. @throws StartFailure where Envoy refuses one */
export async function envoyReady(child: ChildProcess, files: RunDirFiles): Promise<void> {
  const { resources } = JSON.parse(readFileSync(files.listenersFile, 'utf8')) as { resources: { name: string }[] };
  const deadline = Date.now() + ENVOY_READY_TIMEOUT;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    // Its socket is not there at first.
    const state = await envoyState(files.adminSocket).catch(() => undefined);
    if (state?.refused) throw new StartFailure('Envoy refused a listener; its lines above say why');
    if (state?.started && resources.every(({ name }) => state.listeners.has(name))) return;
    await sleep(ENVOY_LOOK);
  }
  throw new StartFailure('Envoy did not open its listeners; its lines above say why');
}
