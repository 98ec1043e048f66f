import { type AgentOptions, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';

export interface Question {
  method?: string;
  /** With its query. */
  path: string;
  /** Ends the request, answer included. */
  signal: AbortSignal;
  body?: { text: string; type: string };
}

/**
 * Connections to the API server, which stay. The library's own client has no time limit for an answer, and a connection of its own for each:
 * so the library knows where the API server is and who we are, and Node asks.
 */
export class Connection {
  readonly #config: KubeConfig;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(config: KubeConfig, options: AgentOptions = {}) {
    const keep = { keepAlive: true, ...options };
    this.#config = config;
    this.#agent = isPlain(config.getCurrentCluster()?.server) ? new HttpAgent(keep) : new HttpsAgent(keep);
  }

  /** Resolves with the answer's beginning, whatever its status. */
  async ask({ method = 'GET', path, signal, body }: Question): Promise<IncomingMessage> {
    const cluster = this.#config.getCurrentCluster();
    if (!cluster) throw new Error('there is no cluster in the Kubernetes configuration');
    const options: RequestOptions = { method, signal };
    // For each request: the service account's token is renewed in its file.
    await this.#config.applyToHTTPSOptions(options);
    if (cluster.proxyUrl === undefined) options.agent = this.#agent;
    options.headers = {
      ...options.headers,
      accept: 'application/json',
      ...(body && { 'content-type': body.type, 'content-length': Buffer.byteLength(body.text) }),
    };
    const url = new URL(cluster.server.replace(/\/$/, '') + path);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (isPlain(url.href) ? httpRequest : httpsRequest)(url, options, resolve);
    request.on('error', reject);
    request.end(body?.text);
    return await promise;
  }

  /** With the connections ends what is asked over them. */
  close(): void {
    this.#agent.destroy();
  }
}

/** What the whole answer says; undefined for what is no JSON: something else answers in the API server's place. */
export async function bodyOf(response: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return parsed(Buffer.concat(parts).toString());
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** As `kubectl proxy` offers it. */
function isPlain(server: string | undefined): boolean {
  return server?.startsWith('http:') ?? false;
}
