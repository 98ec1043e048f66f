import type { ChildProcess } from 'node:child_process';
import { runDirFiles } from '../envoy/run-dir.ts';
import { atExit } from './at-exit.ts';
import { envoyReady, sidecarAuthReady } from './children.ts';
import { removeRunDir } from './run-dir.ts';
import { Supervised } from './supervised.ts';

export interface Running {
  /** Mode 0700; gone after `stop`. */
  runDir: string;
  /** Stops Envoy, then sidecar-auth, and removes the run directory. Called again, it waits for the same. */
  stop(): Promise<void>;
  /** Resolves with the exit code when all is stopped. */
  ended: Promise<number>;
  /** Of the sidecar-auth that runs now: it changes when that is started again. */
  helperPid(): number;
  /** Envoy's admin interface: HTTP on this Unix socket. */
  adminSocket: string;
}

export interface Parts {
  runDir: string;
  startHelper: () => ChildProcess;
  startEnvoy: () => ChildProcess;
  log: (line: string) => void;
}

/** sidecar-auth first: it writes the listeners that Envoy reads. @throws StartFailure; nothing is left running then */
export async function startAll({ runDir, startHelper, startEnvoy, log }: Parts): Promise<Running> {
  const files = runDirFiles(runDir);
  const children: Supervised[] = [];
  const { stop, ended } = stopper(runDir, children);
  try {
    const helper = new Supervised({ name: 'sidecar-auth', start: startHelper, isReady: sidecarAuthReady, log });
    children.unshift(helper);
    await helper.ready;
    const envoy = new Supervised({
      name: 'Envoy',
      start: startEnvoy,
      isReady: (child) => envoyReady(child, files),
      log,
    });
    children.unshift(envoy);
    await envoy.ready;
    return { runDir, stop, ended, helperPid: () => helper.pid, adminSocket: files.adminSocket };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Stops in the order of `children`, which is the reverse of their start: no new sessions first, then what sessions need. */
function stopper(runDir: string, children: Supervised[]): { stop: () => Promise<void>; ended: Promise<number> } {
  const callOff = atExit(() => {
    for (const child of children) child.kill();
    removeRunDir(runDir);
  });
  const stopAll = async () => {
    for (const child of children) await child.stop();
    callOff();
    removeRunDir(runDir);
    end(0);
  };
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= stopAll();
    return stopped;
  };
  let end: (code: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  return { stop, ended };
}
