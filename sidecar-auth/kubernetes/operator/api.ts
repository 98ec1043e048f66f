import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';

/** One request from its first byte to the answer's last. */
const REQUEST_MS = 10_000;
/** Who the API server writes down as the owner of what the operator sets. */
const FIELD_MANAGER = 'postern-operator';

export type ContentType =
  | 'application/json'
  | 'application/merge-patch+json'
  /** Server-side apply; JSON is YAML. */
  | 'application/apply-patch+yaml';

/** What the API server answers in place of what was asked for. */
export class ApiError extends Error {
  /** HTTP's. */
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.name = 'ApiError';
    this.status = status;
  }
}

export const isNotFound = (error: unknown) => error instanceof ApiError && error.status === 404;
export const isConflict = (error: unknown) => error instanceof ApiError && error.status === 409;

/** Requests to the API server over connections that stay: the library opens one for each, and hundreds of resources make thousands. */
export class Api {
  readonly #config: KubeConfig;
  readonly #agent: HttpAgent | Agent;

  constructor(config: KubeConfig) {
    this.#config = config;
    const keep = { keepAlive: true, maxSockets: 16 };
    this.#agent = isPlain(config.getCurrentCluster()?.server) ? new HttpAgent(keep) : new Agent(keep);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#send('GET', path)) as T;
  }

  async create<T>(path: string, body: object): Promise<T> {
    return (await this.#send('POST', `${path}?fieldManager=${FIELD_MANAGER}`, body)) as T;
  }

  /** With `metadata.resourceVersion` in the body: 409 where someone else wrote since. */
  async replace<T>(path: string, body: object): Promise<T> {
    return (await this.#send('PUT', `${path}?fieldManager=${FIELD_MANAGER}`, body)) as T;
  }

  async merge<T>(path: string, body: object): Promise<T> {
    return (await this.#send(
      'PATCH',
      `${path}?fieldManager=${FIELD_MANAGER}`,
      body,
      'application/merge-patch+json',
    )) as T;
  }

  /**
   * Creates it, or makes it be as it is said.
   * @param force whether to take fields over that others set; without it that is a 409
   */
  async apply<T>(path: string, body: object, force: boolean): Promise<T> {
    const query = `fieldManager=${FIELD_MANAGER}&force=${force}`;
    return (await this.#send('PATCH', `${path}?${query}`, body, 'application/apply-patch+yaml')) as T;
  }

  /** Nothing there is no error. */
  async delete(path: string): Promise<void> {
    await this.#send('DELETE', path).catch((error) => {
      if (!isNotFound(error)) throw error;
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send(method: string, path: string, body?: object, type: ContentType = 'application/json'): Promise<unknown> {
    const cluster = this.#config.getCurrentCluster();
    if (!cluster) throw new Error('there is no cluster in the Kubernetes configuration');
    const text = body && JSON.stringify(body);
    const options: RequestOptions = { method, signal: AbortSignal.timeout(REQUEST_MS) };
    // For each request: the service account's token is renewed in its file.
    await this.#config.applyToHTTPSOptions(options);
    if (cluster.proxyUrl === undefined) options.agent = this.#agent;
    options.headers = {
      ...options.headers,
      accept: 'application/json',
      ...(text !== undefined && { 'content-type': type, 'content-length': Buffer.byteLength(text) }),
    };
    return await answerOf(new URL(cluster.server + path), options, text);
  }
}

function answerOf(url: URL, options: RequestOptions, text: string | undefined): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const request = (isPlain(url.href) ? httpRequest : httpsRequest)(url, options, (response) => {
    const parts: Buffer[] = [];
    response.on('data', (part) => parts.push(part));
    response.on('error', reject);
    response.on('end', () => {
      const status = response.statusCode ?? 0;
      const answer = parsed(Buffer.concat(parts).toString('utf8'));
      if (status >= 200 && status < 300) resolve(answer);
      else reject(new ApiError(status, messageOf(answer) ?? `the API server answers ${status}`));
    });
  });
  request.on('error', reject);
  request.end(text);
  return promise;
}

/** As `kubectl proxy` offers it. */
function isPlain(server: string | undefined): boolean {
  return server?.startsWith('http:') ?? false;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Of Kubernetes' Status object. */
function messageOf(answer: unknown): string | undefined {
  const message = (answer as { message?: unknown } | undefined)?.message;
  return typeof message === 'string' ? message : undefined;
}
