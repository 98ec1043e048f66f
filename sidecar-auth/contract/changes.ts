import { randomBytes } from 'node:crypto';
import type { Line } from './lines.ts';

/** Milliseconds until a poll is answered unchanged; the filter gives up after 60 s. */
const POLL_MS = 50_000;
/** Listeners remembered as changed. Their ids fill an answer's 64 KiB about to the half; who missed more drops everything. */
const MEMORY = 500;

interface Poll {
  since: number;
  answer: (lines: Line[]) => void;
  timer: NodeJS.Timeout;
}

/** The long poll of GET /v1/changes: which kept answers must be dropped. */
export class Changes {
  readonly boot = randomBytes(8).toString('hex');
  readonly #pollMs: number;
  readonly #polls = new Set<Poll>();
  /** Listener id to the number of its last change, the oldest first. */
  readonly #changed = new Map<string, number>();
  #number = 0;
  /** The number of the last change that was forgotten. */
  #forgotten = 0;

  constructor(pollMs = POLL_MS) {
    this.#pollMs = pollMs;
  }

  /** Polls that wait now. */
  get waiting(): number {
    return this.#polls.size;
  }

  /** BOOT.N: what is answered now is of this state. */
  get now(): string {
    return `${this.boot}.${this.#number}`;
  }

  announce(listenerIds: string[]): void {
    if (listenerIds.length === 0) return;
    this.#number++;
    for (const id of listenerIds) {
      this.#changed.delete(id);
      this.#changed.set(id, this.#number);
    }
    this.#forget();
    for (const poll of this.#polls) this.#answer(poll);
  }

  /** Calls `answer` once, now or later, unless the function that is returned was called before. */
  poll(since: string, answer: (lines: Line[]) => void): () => void {
    const number = this.#known(since);
    const poll = { since: number ?? 0, answer, timer: setTimeout(() => this.#answer(poll), this.#pollMs) };
    this.#polls.add(poll);
    if (number === undefined) this.#answer(poll, [['all', '1']]);
    else if (number < this.#number) this.#answer(poll);
    return () => this.#end(poll);
  }

  /** Answers every poll, for a clean end. */
  close(): void {
    for (const poll of this.#polls) this.#answer(poll);
  }

  /** N of `BOOT.N`, if all changes after it are remembered. */
  #known(since: string): number | undefined {
    const [, boot, digits] = /^([A-Za-z0-9]{1,32})\.(\d{1,15})$/.exec(since) ?? [];
    const number = Number(digits);
    return boot === this.boot && number >= this.#forgotten && number <= this.#number ? number : undefined;
  }

  #answer(poll: Poll, lines?: Line[]): void {
    this.#end(poll);
    poll.answer([['since', this.now], ...(lines ?? this.#after(poll.since))]);
  }

  #after(number: number): Line[] {
    if (number < this.#forgotten) return [['all', '1']];
    return [...this.#changed].filter(([, n]) => n > number).map(([id]): Line => ['listener', id]);
  }

  #end(poll: Poll): void {
    clearTimeout(poll.timer);
    this.#polls.delete(poll);
  }

  #forget(): void {
    for (const [id, number] of this.#changed) {
      if (this.#changed.size <= MEMORY) return;
      this.#changed.delete(id);
      this.#forgotten = number;
    }
  }
}
