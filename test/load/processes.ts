import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Account, ClientAnswer, ClientRequest, Seen, ServerAnswer, ServerRequest } from './messages.ts';

/** The servers and the client are processes of their own: the test's would slow down what it measures. */
function start(name: string): ChildProcess {
  return fork(join(import.meta.dirname, name), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [] });
}

async function stop(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await gone;
}

async function answerOf<T>(child: ChildProcess): Promise<T> {
  const answered = new AbortController();
  const { signal } = answered;
  const ended = once(child, 'exit', { signal }).then(() => {
    throw new Error('a process of the load test ended');
  });
  const [answer] = await Promise.race([once(child, 'message', { signal }), ended]);
  ended.catch(() => {}); // its end is no matter from here on
  answered.abort();
  return answer;
}

/** SMTP servers, one per account. */
export class LoadServers {
  readonly ports: number[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ports: number[]) {
    this.#child = child;
    this.ports = ports;
  }

  static async start(accounts: Account[]): Promise<LoadServers> {
    const child = start('server-process.ts');
    const request: ServerRequest = { start: accounts };
    child.send(request);
    const { ports } = await answerOf<Extract<ServerAnswer, { ports: number[] }>>(child);
    return new LoadServers(child, ports);
  }

  /** By account, in their order. */
  async seen(): Promise<Seen[]> {
    const request: ServerRequest = { ask: 'seen' };
    this.#child.send(request);
    return (await answerOf<Extract<ServerAnswer, { seen: Seen[] }>>(this.#child)).seen;
  }

  stop(): Promise<void> {
    return stop(this.#child);
  }
}

/** Runs sessions; `errors` has the first few of those that failed. */
export class LoadClient {
  readonly #child = start('client-process.ts');

  async run(request: ClientRequest, progress = (_: number) => {}): Promise<{ failed: number; errors: string[] }> {
    this.#child.send(request);
    for (;;) {
      const answer = await answerOf<ClientAnswer>(this.#child);
      if ('done' in answer) return { failed: answer.failed, errors: answer.errors };
      progress(answer.progress);
    }
  }

  stop(): Promise<void> {
    return stop(this.#child);
  }
}
