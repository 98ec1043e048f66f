import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { listenPrivately } from '../relay/private-socket.ts';
import type { Changes } from './changes.ts';
import { decodeLines, encodeLines, type Line } from './lines.ts';

/** Octets of a body (contract). */
const BODY_LIMIT = 64 * 1024;
/** Octets of a user's name and of what an app presents (contract). */
const USER_LIMIT = 1024;
const TOKEN_LIMIT = 16 * 1024;
/** Milliseconds for a request to arrive in whole: it comes from this machine. */
const REQUEST_MS = 10_000;

/** What the contract is answered from. */
export interface Answers {
  session(listenerId: string): Promise<Line[]>;
  /** `undefined`: the route id is not the current one. */
  exchange(request: Exchange): Promise<Line[] | undefined>;
  /** What to try next: nothing for a password. `undefined`: the route id is not the current one. */
  rejected(request: Rejection): Promise<Line[] | undefined>;
  /** For people and tests, without secrets. */
  status(): object;
  changes: Changes;
}

/** What an app presented. */
export interface Exchange {
  routeId: string;
  user: string;
  /** Its refresh token or authorization code. */
  token: string;
}

/** `exchange`: the login came from one, and had this grant id. */
export interface Rejection {
  routeId: string;
  grant?: string;
  exchange?: Exchange;
}

interface Request {
  body: Buffer;
  since: string;
  response: ServerResponse;
}

/** Status and body of an answer; `undefined` where the handler answers later. */
type Reply = { status: number; body?: string; type?: string };
type Handler = (answers: Answers, request: Request) => Promise<Reply | undefined> | Reply | undefined;

const HANDLERS: Record<string, Handler> = {
  'POST /v1/sessions': sessions,
  'POST /v1/exchanges': exchanges,
  'POST /v1/rejections': rejections,
  'GET /v1/changes': changes,
  'GET /v1/status': ({ status }) => ({ status: 200, body: `${JSON.stringify(status())}\n`, type: 'application/json' }),
};

/** Serves docs/contract.md on a Unix socket of mode 0600. `onFault` hears of what should never happen. */
export async function startContract(
  socketPath: string,
  answers: Answers,
  onFault: (error: unknown) => void,
): Promise<Server> {
  const server = createServer((request, response) => {
    handle(answers, request, response).catch((error) => {
      if (!response.destroyed) onFault(error); // else it is the client that went away
      reply(response, { status: 500 });
    });
  });
  // No keep-alive time-out: Envoy ends idle connections itself, and a request on one that Node is just closing would be a 503.
  server.keepAliveTimeout = 0;
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  await listenPrivately(server, socketPath);
  return server;
}

async function handle(answers: Answers, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path, query] = (request.url ?? '').split('?');
  const handler = HANDLERS[`${request.method} ${path}`];
  if (!handler) return reply(response, { status: 404 });
  const body = await readBody(request);
  if (!body) return reply(response, { status: 413 });
  const done = await handler(answers, { body, since: new URLSearchParams(query).get('since') ?? '', response });
  if (done) reply(response, done);
}

/** `undefined` where the body is too long; the rest of it is read and dropped, so that the answer arrives. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= BODY_LIMIT) chunks.push(chunk);
  }
  return size <= BODY_LIMIT ? Buffer.concat(chunks) : undefined;
}

async function sessions(answers: Answers, { body }: Request): Promise<Reply> {
  const listener = single(body, 'listener');
  if (listener === undefined) return { status: 400 };
  return { status: 200, body: encodeLines(await answers.session(listener)) };
}

async function exchanges(answers: Answers, { body }: Request): Promise<Reply> {
  const exchange = exchangeOf(body);
  return exchange ? answered(await answers.exchange(exchange)) : { status: 400 };
}

async function rejections(answers: Answers, { body }: Request): Promise<Reply> {
  const routeId = single(body, 'route');
  if (routeId === undefined) return { status: 400 };
  const grant = single(body, 'grant');
  const exchange = exchangeOf(body);
  return answered(
    await answers.rejected({ routeId, ...(grant !== undefined && { grant }), ...(exchange && { exchange }) }),
  );
}

/** 409: of a route that is not the current one nothing is told, and nothing dropped. */
function answered(lines: Line[] | undefined): Reply {
  return lines ? { status: 200, body: encodeLines(lines) } : { status: 409 };
}

/** `undefined` where a part is missing, or has not the contract's size. */
function exchangeOf(body: Buffer): Exchange | undefined {
  const routeId = single(body, 'route');
  const user = single(body, 'user');
  const token = single(body, 'token');
  if (routeId === undefined || !isSized(user, USER_LIMIT) || !isSized(token, TOKEN_LIMIT)) return undefined;
  return { routeId, user, token };
}

function isSized(value: string | undefined, limit: number): value is string {
  return value !== undefined && value !== '' && Buffer.byteLength(value) <= limit;
}

function changes({ changes }: Answers, { since, response }: Request): undefined {
  const forget = changes.poll(since, (lines) => reply(response, { status: 200, body: encodeLines(lines) }));
  response.once('close', forget);
}

/** The value of a key that must be there exactly once. */
function single(body: Buffer, key: string): string | undefined {
  const values = decodeLines(body.toString('latin1'))?.get(key);
  return values?.length === 1 ? values[0] : undefined;
}

function reply(response: ServerResponse, { status, body = '', type = 'text/plain' }: Reply): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
