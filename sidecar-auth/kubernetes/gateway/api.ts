import type { IncomingMessage } from 'node:http';
import type { KubeConfig } from '@kubernetes/client-node';
import { bodyOf, Connection, parsed } from '../connection.ts';

/** Milliseconds for a whole answer; a list of 10,000 resources takes the API server about two seconds. */
const ANSWER_MS = 20_000;
/** Milliseconds between the packets that show whether a silent watch is still connected. */
const KEEP_ALIVE_MS = 30_000;

/** What the API server says of a change. */
export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: object;
}

/** The little that a gateway asks the API server for. */
export interface Api {
  /** `body` is what the JSON says. Rejects where there is no answer. */
  get(path: string, query?: Record<string, string>): Promise<{ status: number; body: unknown }>;
  /** Resolves when the API server has ended the watch, and rejects where the connection broke. */
  watch(path: string, query: Record<string, string>, onEvent: (event: WatchEvent) => void): Promise<void>;
  close(): void;
}

export class ApiServer implements Api {
  readonly #connection: Connection;

  constructor(config: KubeConfig) {
    if (config.getCurrentCluster()?.server === undefined)
      throw new Error('no API server is known: this is no pod, and KUBECONFIG names none');
    this.#connection = new Connection(config, { keepAliveMsecs: KEEP_ALIVE_MS });
  }

  async get(path: string, query: Record<string, string> = {}): Promise<{ status: number; body: unknown }> {
    const response = await this.#ask(path, query, AbortSignal.timeout(ANSWER_MS));
    return { status: response.statusCode ?? 0, body: await bodyOf(response) };
  }

  async watch(path: string, query: Record<string, string>, onEvent: (event: WatchEvent) => void): Promise<void> {
    const seconds = Number(query.timeoutSeconds ?? 300);
    // Should the API server forget to end it.
    const late = AbortSignal.timeout((seconds + 15) * 1000);
    const response = await this.#ask(path, { ...query, watch: 'true' }, late);
    if (response.statusCode !== 200) {
      response.destroy();
      throw new Error(`the API server answers ${response.statusCode}`);
    }
    let rest = '';
    const decoder = new TextDecoder();
    for await (const part of response) {
      const lines = (rest + decoder.decode(part as Buffer, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = parsed(line);
        if (typeof event === 'object' && event !== null) onEvent(event as WatchEvent);
      }
    }
  }

  close(): void {
    this.#connection.close();
  }

  #ask(path: string, query: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#connection.ask({ path: `${path}?${new URLSearchParams(query)}`, signal });
  }
}
