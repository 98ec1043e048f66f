import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type AttackAnswer, type Attackers, type AttackRequest, GREETING } from './hostile-messages.ts';

/** Hostile applications and mail servers, in a process of their own: the test's watches what becomes of everyone else. */
export class Attacker {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'attacker-process.ts'), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [],
  });

  /** The port of a mail server that greets, if only by nothing, and answers everything with these octets (latin1). */
  async serve(answer: string, greeting = GREETING): Promise<number> {
    return (await this.#ask<{ port: number }>({ serve: answer, greeting })).port;
  }

  /** Opens connections, each of which sends these octets (latin1) and nothing more. */
  open(count: number, port: number, says: string): Promise<Attackers> {
    return this.#ask({ open: count, port, says });
  }

  look(): Promise<Attackers> {
    return this.#ask('look');
  }

  /** Closes all connections; what had become of them. */
  leave(): Promise<Attackers> {
    return this.#ask('leave');
  }

  async stop(): Promise<void> {
    const gone = once(this.#child, 'exit');
    if (this.#child.exitCode === null && this.#child.kill()) await gone;
  }

  async #ask<T extends AttackAnswer>(request: AttackRequest): Promise<T> {
    const answered = once(this.#child, 'message');
    this.#child.send(request);
    const [answer] = await answered;
    return answer;
  }
}
