import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { askAdmin } from '../../envoy/admin.ts';

/** GET /v1/status of docs/contract.md. */
export interface Status {
  boot: string;
  /** Polls that wait: one for each worker that has had a connection. */
  polls: number;
  /** Questions for a route, by listener. */
  sessions: Record<string, number>;
}

export async function helperStatus(runDir: string): Promise<Status> {
  return JSON.parse(await askAdmin(join(runDir, 'helper.sock'), '/v1/status'));
}

/** Postern in a process of its own, with its log. */
export class PosternProcess {
  readonly runDir: string;
  readonly #child: ChildProcess;
  readonly #log: string[];

  private constructor(child: ChildProcess, log: string[], runDir: string) {
    this.#child = child;
    this.#log = log;
    this.runDir = runDir;
  }

  /** @throws Error with the log where it does not start */
  static async start(configFile: string, workers: number): Promise<PosternProcess> {
    const child = fork(join(import.meta.dirname, 'postern-process.ts'), [configFile, String(workers)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
    });
    const log: string[] = [];
    child.stderr?.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const ended = once(child, 'exit').then(() => {
      throw new Error(`Postern did not start: ${log.join('')}`);
    });
    const [{ runDir }] = await Promise.race([once(child, 'message'), ended]);
    ended.catch(() => {}); // from here on its end is stop's
    return new PosternProcess(child, log, runDir);
  }

  /** All that Envoy and sidecar-auth have logged so far. */
  get log(): string {
    return this.#log.join('');
  }

  /** Process id of the sidecar-auth that runs now. */
  async helperPid(): Promise<number> {
    this.#child.send('helperPid');
    const [{ helperPid }] = await once(this.#child, 'message');
    return helperPid;
  }

  async stop(): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.send('stop');
    await gone;
  }
}
