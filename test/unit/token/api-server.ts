import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

interface Secret {
  metadata: { name: string; resourceVersion: string };
  data: Record<string, string>;
}

/**
 * A stand-in for a Kubernetes API server: Secrets of one namespace, with the rules that grants rely on. A write with a resourceVersion that is
 * not the current one gets 409, a second creation too, a wrong token 401, and more than 1 MiB 422.
 */
export async function apiServer(token: string) {
  const secrets = new Map<string, Secret>();
  const requests: string[] = [];
  let version = 100;

  function answer(request: IncomingMessage, body: string): [number, object] {
    requests.push(`${request.method} ${request.url}`);
    if (request.headers.authorization !== `Bearer ${token}`) return [401, {}];
    const name = /^\/api\/v1\/namespaces\/mail\/secrets(?:\/([a-z-]+))?$/.exec(request.url ?? '')?.[1];
    const secret = secrets.get(name ?? '');
    if (request.method === 'POST') return name === undefined ? create(JSON.parse(body)) : [405, {}];
    if (!secret) return [404, {}];
    return request.method === 'PATCH'
      ? patch(secret, request.headers['content-type'], JSON.parse(body))
      : [200, secret];
  }

  function create({ metadata, data }: Secret): [number, object] {
    if (secrets.has(metadata.name)) return [409, {}];
    const created = { metadata: { name: metadata.name, resourceVersion: `${++version}` }, data };
    secrets.set(metadata.name, created);
    return [201, created];
  }

  /** RFC 7396. */
  function patch(secret: Secret, type: string | undefined, { metadata, data }: Secret): [number, object] {
    if (type !== 'application/merge-patch+json') return [415, {}];
    if (metadata.resourceVersion !== secret.metadata.resourceVersion) return [409, {}];
    const merged = Object.entries({ ...secret.data, ...data }).filter(([, value]) => value !== null);
    if (merged.reduce((sum, [, value]) => sum + (value.length * 3) / 4, 0) > 1_048_576) return [422, {}];
    secret.data = Object.fromEntries(merged);
    secret.metadata = { ...secret.metadata, resourceVersion: `${++version}` };
    return [200, secret];
  }

  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const [status, body] = answer(request, await text(request));
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close().closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, secrets, requests };
}
