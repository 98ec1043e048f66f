import type { KubeConfig } from '@kubernetes/client-node';
import { bodyOf, Connection } from '../connection.ts';

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

/** Requests to the API server; hundreds of resources make thousands, over few connections. */
export class Api {
  readonly #connection: Connection;

  constructor(config: KubeConfig) {
    this.#connection = new Connection(config, { maxSockets: 16 });
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
    this.#connection.close();
  }

  async #send(method: string, path: string, body?: object, type: ContentType = 'application/json'): Promise<unknown> {
    const response = await this.#connection.ask({
      method,
      path,
      signal: AbortSignal.timeout(REQUEST_MS),
      ...(body && { body: { text: JSON.stringify(body), type } }),
    });
    const { statusCode: status = 0 } = response;
    const answer = await bodyOf(response);
    if (status >= 200 && status < 300) return answer;
    throw new ApiError(status, messageOf(answer) ?? `the API server answers ${status}`);
  }
}

/** Of Kubernetes' Status object. */
function messageOf(answer: unknown): string | undefined {
  const message = (answer as { message?: unknown } | undefined)?.message;
  return typeof message === 'string' ? message : undefined;
}
