import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyBinary } from '../cli/envoy-binary.ts';
import { type WasmTarget, wasmBuild } from '../cli/wasm-build.ts';
import { type Certificate, createCertificates } from '../demo/certificates.ts';
import type { Arm, ArmOptions } from './arms/arm.ts';
import type { Talker } from './processes.ts';
import type { Result } from './result.ts';
import { buildTool, type Tool } from './tool.ts';

export type Progress = (line: string) => void;

/** A part of the benchmark: it starts its arms, measures them in turn, and stops them. */
export interface Case {
  /** For `--only`. */
  name: string;
  run(stage: Stage): Promise<Result[]>;
}

const PASS: WasmTarget = {
  target: 'pass',
  entry: 'bench/filter/pass.as.ts',
  output: 'build/pass.wasm',
  sources: ['bench/filter', 'filter/host/memory.ts', 'asconfig.json', 'package-lock.json'],
};

/** The account's access token, as tool/account.go has it. */
const TOKEN = 'abcdefghijklmnopqrstuvwxyz'.repeat(47).slice(0, 1200);

/** What all cases share: the mail server, its certificate, the token service, the programs. */
export class Stage {
  readonly tool: Tool;
  readonly envoy: string;
  /** The filter that only passes. */
  readonly passFilter: string;
  readonly tokenUrl: string;
  readonly rounds: number;
  /** Shorter runs, for `--quick`. */
  readonly quick: boolean;
  readonly progress: Progress;
  /** Of the server that every arm leads to. */
  readonly serverPid: number;
  readonly #directory: string;
  readonly #server: Talker;
  readonly #tokens: Server;
  readonly #options: ArmOptions;
  readonly #arms: Arm[] = [];
  #folders = 0;

  private constructor(parts: {
    directory: string;
    tool: Tool;
    envoy: string;
    passFilter: string;
    server: Talker;
    upstream: Record<string, number>;
    tokens: Server;
    ca: string;
    quick: boolean;
    progress: Progress;
  }) {
    const { directory, tool, envoy, passFilter, server, upstream, tokens, ca, quick, progress } = parts;
    this.#directory = directory;
    this.tool = tool;
    this.envoy = envoy;
    this.passFilter = passFilter;
    this.#server = server;
    this.serverPid = server.pid;
    this.#tokens = tokens;
    this.tokenUrl = `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`;
    this.#options = { directory, upstream, ca, token: TOKEN };
    this.quick = quick;
    this.rounds = quick ? 3 : 5;
    this.progress = progress;
  }

  static async open(quick: boolean, progress: Progress): Promise<Stage> {
    const directory = mkdtempSync(join(tmpdir(), 'bench-'));
    // Dovecot's and nginx's processes run as other users.
    chmodSync(directory, 0o711);
    const [tool, envoy, passFilter] = await Promise.all([
      buildTool(progress),
      envoyBinary({ progress }),
      wasmBuild(PASS, progress),
    ]);
    const certificates = await createCertificates(join(directory, 'certificates'));
    const certificate = await certificates.issue('server', { names: ['localhost'], addresses: ['127.0.0.1'] });
    tool.ca = certificates.caFile;
    const server = startServer(tool, certificate);
    const upstream = await server.hear<Record<string, number>>();
    const tokens = await tokenService();
    const ca = certificates.caFile;
    return new Stage({ directory, tool, envoy, passFilter, server, upstream, tokens, ca, quick, progress });
  }

  /** What an arm is started with: a folder of its own, and the mail server. */
  options(): ArmOptions {
    this.#folders += 1;
    const directory = join(this.#directory, `arm-${this.#folders}`);
    mkdirSync(directory);
    return { ...this.#options, directory };
  }

  /** Ports of the mail server. */
  get upstream(): Record<string, number> {
    return this.#options.upstream;
  }

  /** Stopped with `clear`, also where a case fails. */
  async add<A extends Arm>(arm: Promise<A>): Promise<A> {
    const started = await arm;
    this.#arms.push(started);
    return started;
  }

  /** Ends the arms of a case. */
  async clear(): Promise<void> {
    await Promise.all(this.#arms.splice(0).map((arm) => arm.stop()));
  }

  async close(): Promise<void> {
    await this.clear();
    await this.#server.stop();
    this.#tokens.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function startServer(tool: Tool, { certFile, keyFile }: Certificate): Talker {
  return tool.start('serve', ['--cert', certFile, '--key', keyFile]);
}

/** Gives everybody the account's token: what a token service does is not measured, how often it is asked is seen in the time. */
async function tokenService(): Promise<Server> {
  const answer = JSON.stringify({ access_token: TOKEN, token_type: 'Bearer', expires_in: 3600 });
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json').end(answer);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}
