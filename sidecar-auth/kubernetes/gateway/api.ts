import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';

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

/**
 * The library's own client has no time limit for an answer, and a connection of its own for each: so the library knows where the API server is and who
 * we are, and Node asks.
 */
export class ApiServer implements Api {
  readonly #config: KubeConfig;
  readonly #server: URL;
  #agent: HttpAgent | HttpsAgent | undefined;

  constructor(config: KubeConfig) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new Error('no API server is known: this is no pod, and KUBECONFIG names none');
    this.#config = config;
    this.#server = new URL(server);
  }

  async get(path: string, query: Record<string, string> = {}): Promise<{ status: number; body: unknown }> {
    const response = await this.#ask(path, query, AbortSignal.timeout(ANSWER_MS));
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    return { status: response.statusCode ?? 0, body: parsed(Buffer.concat(parts).toString()) };
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

  /** With the connections ends what is asked over them. */
  close(): void {
    this.#agent?.destroy();
  }

  /** The token is read again where it is rotated; CA and client certificate are those of the start. */
  async #ask(path: string, query: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
    const options: RequestOptions & { ca?: string; cert?: string; key?: string; rejectUnauthorized?: boolean } = {};
    await this.#config.applyToHTTPSOptions(options as never);
    const { headers, auth, ca, cert, key, rejectUnauthorized } = options;
    const isTls = this.#server.protocol === 'https:';
    const keep = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
    this.#agent ??= isTls
      ? new HttpsAgent({
          ...keep,
          ...(ca && { ca }),
          ...(cert && { cert }),
          ...(key && { key }),
          ...(rejectUnauthorized !== undefined && { rejectUnauthorized }),
        })
      : new HttpAgent(keep);
    const url = new URL(`${this.#server.href.replace(/\/$/, '')}${path}?${new URLSearchParams(query)}`);
    const agent = this.#agent;
    return new Promise((resolve, reject) => {
      const asked = (isTls ? httpsRequest : httpRequest)(
        url,
        { agent, signal, ...(auth && { auth }), headers: { ...(headers as object), accept: 'application/json' } },
        resolve,
      );
      asked.on('error', reject);
      asked.end();
    });
  }
}

/** Undefined for what is no JSON: something else answers in the API server's place. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
