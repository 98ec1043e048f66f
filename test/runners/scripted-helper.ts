import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { questionOf, readFields } from './helper-events.ts';

/** A question of the filter that waits for its answer. */
interface Pending {
  path: string;
  body: string;
  response: ServerResponse;
  /** A dialog expected it. */
  expected: boolean;
}

/** sidecar-auth's HTTP contract, served by a test: sessions at once, exchanges and rejections when a dialog says so, changes never. */
export class ScriptedHelper {
  readonly #server: Server;
  readonly #sessionOf: (listenerId: string) => string;
  /** By route id. */
  readonly #pending = new Map<string, Pending>();
  #wake = () => {};

  constructor(sessionOf: (listenerId: string) => string) {
    this.#sessionOf = sessionOf;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error) => response.destroy(error));
    });
    this.#server.keepAliveTimeout = 0;
  }

  async listen(path: string): Promise<void> {
    this.#server.listen(path);
    await once(this.#server, 'listening');
  }

  /** What was asked for this route; undefined where nothing comes within `ms`. */
  async asked(route: string, ms: number): Promise<{ path: string; fields: Record<string, string> } | undefined> {
    const late = AbortSignal.timeout(ms);
    while (!this.#pending.has(route) && !late.aborted) await this.#change(late);
    const pending = this.#pending.get(route);
    if (pending) pending.expected = true;
    return pending && questionOf(pending.path, pending.body, route);
  }

  /** Whether a question for this route waits that no dialog expected. */
  isSurprised(route: string): boolean {
    return this.#pending.get(route)?.expected === false;
  }

  answer(route: string, status: string, body: string): void {
    const pending = this.#pending.get(route);
    if (!pending) throw new Error(`nothing was asked for ${route}`);
    this.#pending.delete(route);
    pending.response.writeHead(Number(status)).end(body);
  }

  /** What is left of a dialog before. */
  forget(route: string): void {
    if (this.#pending.has(route)) this.answer(route, '503', '');
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('latin1');
    const { listener = '', route = '' } = readFields(body);
    if (path === '/v1/sessions') response.end(this.#sessionOf(listener));
    if (path !== '/v1/exchanges' && path !== '/v1/rejections') return;
    this.#pending.set(route, { path, body, response, expected: false });
    this.#wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}
