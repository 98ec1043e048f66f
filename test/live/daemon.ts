import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, resolve } from 'node:path';

/** A mail server of our own, started for a test. */
export interface Daemon {
  /** Process id of its master process. */
  readonly pid: number;
  /** What it has logged so far, line by line. */
  log(): string[];
  /** The first line that matches, waiting at most `timeout` ms for it. Throws an Error with the log's end. */
  logged(pattern: RegExp, timeout?: number): Promise<string>;
  /** Ends it and all its processes; resolves when they are gone. May be called twice. */
  stop(): Promise<void>;
}

/** Who logged in, as the mail server itself tells it. */
export interface Login {
  /** `imap`, `pop3` or `smtp`. */
  service: string;
  user: string;
  /** SASL mechanism. Dovecot names PLAIN for IMAP LOGIN and POP3 USER/PASS too. */
  method: string;
  tls: boolean;
}

/** Both servers start in under a second; a busy machine may need several. */
const READY_TIMEOUT = 15_000;

/**
 * Starts a server that stays in the foreground and logs to `logFile`, and waits until it has logged `ready`.
 * Throws an Error with its log when it ends before that or does not get ready in 15 s.
 */
export async function startDaemon(command: string[], logFile: string, ready: RegExp): Promise<Daemon> {
  writeFileSync(logFile, '', { flag: 'a' });
  const child = spawnBound(command);
  const ended = once(child, 'close');
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const log = () => [...errors.split('\n'), ...readFileSync(logFile, 'utf8').split('\n')].filter(Boolean);
  const stop = async () => {
    child.stdin?.end();
    await ended;
  };
  const over = new AbortController();
  const logged = (pattern: RegExp, timeout = 5_000) =>
    waitForLine(log, logFile, pattern, AbortSignal.any([AbortSignal.timeout(timeout), over.signal]));
  ended.then(() => over.abort(new Error(`${command[0]} has ended`)));
  try {
    await logged(ready, READY_TIMEOUT);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid: child.pid as number, log, logged, stop };
}

/** Ends the whole process group when its input ends: at `stop`, or when this process is gone, however it went. */
const BOUND = 'exec 3<&0; (read -r _ <&3; kill 0) & exec "$@" </dev/null 3<&-';

/**
 * A process group of its own, because Postfix' master signals its whole group, and because Dovecot's login processes
 * outlive their master as long as a client is connected.
 */
function spawnBound(command: string[]): ChildProcess {
  const child = spawn('sh', ['-c', BOUND, 'sh', ...command], { detached: true, stdio: 'pipe' });
  child.once('exit', () => child.stdin?.end());
  return child;
}

function waitForLine(log: () => string[], file: string, pattern: RegExp, signal: AbortSignal): Promise<string> {
  return new Promise((done, reject) => {
    const watcher = watch(file, { signal }, look);
    signal.addEventListener('abort', () => {
      reject(
        new Error(`no line matches ${pattern} in the log:\n${log().slice(-10).join('\n')}`, { cause: signal.reason }),
      );
    });
    function look() {
      const line = log().find((text) => pattern.test(text));
      if (line === undefined) return;
      watcher.close();
      done(line);
    }
    look();
  });
}

/**
 * Opens a folder of the caller's (mode 0711) to the users that the servers' processes run as. Throws an Error that names the
 * parent that is closed to them.
 */
export function openFolder(dir: string): void {
  chmodSync(dir, 0o711);
  for (let parent = dirname(resolve(dir)); parent !== '/'; parent = dirname(parent)) {
    if ((statSync(parent).mode & 0o001) === 0) throw new Error(`${parent} is closed to other users than its owner`);
  }
}

/** vitest's workers (two, numbered from 1) choose from ranges of their own: between look and use, none can take what another has found. */
const PORTS_EACH = 7_300;
const OWN_PORTS = 10_000 + PORTS_EACH * (Number(process.env.VITEST_POOL_ID ?? 0) % 3);

/**
 * Ports on 127.0.0.1 that nobody listens on. Taken below the range of `net.ipv4.ip_local_port_range`, so that neither
 * an outgoing connection nor a `listen(0)` of another test can take one before the server has bound it.
 */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  while (held.length < count) {
    const server = createServer();
    const port = OWN_PORTS + Math.floor(Math.random() * PORTS_EACH);
    const taken = new Promise<boolean>((done) => {
      server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true));
    });
    if (await taken) held.push(server);
  }
  const ports = held.map((server) => (server.address() as { port: number }).port);
  await Promise.all(held.map((server) => once(server.close(), 'close')));
  return ports;
}
