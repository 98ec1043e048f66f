import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

interface Stored {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    resourceVersion: string;
    uid: string;
    generation: number;
    creationTimestamp: string;
    finalizers?: string[];
    deletionTimestamp?: string;
    labels?: Record<string, string>;
  };
  spec?: object;
  status?: object;
}

interface Watcher {
  matches: (path: string, object: Stored) => boolean;
  response: ServerResponse;
}

/**
 * The little of an API server that the operator needs, over HTTP: collections, watches, resourceVersions, finalizers, the status beside the spec. Server-side apply is a merge.
 */
export class FakeApiServer {
  readonly #server: Server;
  readonly objects = new Map<string, Stored>();
  /** `METHOD path`, oldest first. */
  asked: string[] = [];
  /** Requests that fail, as often as it says: by `METHOD path`, with this status. */
  failures: { match: RegExp; status: number; times: number }[] = [];
  #version = 0;
  #watchers = new Set<Watcher>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeApiServer> {
    const server = createServer();
    const fake = new FakeApiServer(server);
    server.on('request', (request, response) => fake.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get config(): KubeConfig {
    const config = new KubeConfig();
    const server = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    config.loadFromClusterAndUser({ name: 'fake', server, skipTLSVerify: true }, { name: 'nobody' });
    return config;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** All watches end without a word of what happens before they begin again. */
  breakWatches(): void {
    for (const { response } of this.#watchers) response.destroy();
    this.#watchers.clear();
  }

  /** By path; as a user does it. */
  put(path: string, object: object): void {
    const [name = '', , namespace = ''] = path.split('/').reverse();
    this.#store(
      path,
      { ...object, metadata: { name, namespace, ...(object as Partial<Stored>).metadata } } as Stored,
      true,
    );
  }

  get(path: string): Stored | undefined {
    return this.objects.get(path);
  }

  delete(path: string): void {
    const object = this.objects.get(path);
    if (!object) return;
    if (object.metadata.finalizers?.length) {
      const metadata = { ...object.metadata, deletionTimestamp: new Date().toISOString() };
      this.#store(path, { ...object, metadata }, false);
      return;
    }
    this.objects.delete(path);
    this.#tell('DELETED', path, object);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://fake');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const { method = '' } = request;
    if (url.searchParams.has('watch')) return this.#watch(url, response);
    this.asked.push(`${method} ${url.pathname}`);
    const failure = this.failures.find(({ match, times }) => times > 0 && match.test(`${method} ${url.pathname}`));
    if (failure) failure.times--;
    const answer = failure
      ? { status: failure.status, body: { message: 'made to fail' } }
      : this.#do(method, url, text === '' ? undefined : JSON.parse(text));
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
  }

  #do(method: string, { pathname, searchParams }: URL, body: Stored | undefined): { status: number; body: object } {
    const path = pathname.replace(/\/status$/, '');
    const object = this.objects.get(path);
    if (method === 'GET' && isCollection(path)) return this.#list(path, searchParams.get('labelSelector'));
    if (method === 'POST' && body) {
      const name = body.metadata.name ?? `generated-${this.#version}`;
      if (this.objects.has(`${path}/${name}`)) return { status: 409, body: { message: 'already exists' } };
      return { status: 201, body: this.#store(`${path}/${name}`, withName(body, name, path), true) };
    }
    if (method === 'PATCH' && body && !object && searchParams.has('force')) {
      return { status: 201, body: this.#store(path, body, true) };
    }
    if (!object) return { status: 404, body: { message: 'not found' } };
    if (method === 'GET') return { status: 200, body: object };
    if (method === 'DELETE') {
      this.delete(path);
      return { status: 200, body: {} };
    }
    const version = body?.metadata.resourceVersion;
    if (version !== undefined && version !== object.metadata.resourceVersion) {
      return { status: 409, body: { message: 'the object has been modified' } };
    }
    if (pathname.endsWith('/status')) {
      return { status: 200, body: this.#store(path, { ...object, status: body?.status ?? {} }, false) };
    }
    const { status, ...rest } = { ...object, ...body };
    const metadata = { ...object.metadata, ...body?.metadata, uid: object.metadata.uid };
    const changed = { ...rest, ...(object.status && { status: object.status }), metadata } as Stored;
    const stored = this.#store(path, changed, JSON.stringify(changed.spec) !== JSON.stringify(object.spec));
    const isOver = metadata.deletionTimestamp !== undefined && (metadata.finalizers ?? []).length === 0;
    if (isOver) this.delete(path);
    return { status: 200, body: stored };
  }

  #list(path: string, selector: string | null): { status: number; body: object } {
    const items = [...this.objects]
      .filter(([key, object]) => isIn(path, key) && isSelected(object, selector))
      .map(([, object]) => object);
    const kind = `${items[0]?.kind ?? 'Thing'}List`;
    return {
      status: 200,
      body: {
        apiVersion: items[0]?.apiVersion ?? 'v1',
        kind,
        metadata: { resourceVersion: String(this.#version) },
        items,
      },
    };
  }

  #watch(url: URL, response: ServerResponse): void {
    const selector = url.searchParams.get('labelSelector');
    const since = Number(url.searchParams.get('resourceVersion') ?? 0);
    const matches = (path: string, object: Stored) => isIn(url.pathname, path) && isSelected(object, selector);
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    for (const [path, object] of this.objects) {
      if (matches(path, object) && Number(object.metadata.resourceVersion) > since)
        response.write(event('MODIFIED', object));
    }
    const watcher = { matches, response };
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
  }

  #store(path: string, object: Stored, isNewSpec: boolean): Stored {
    const before = this.objects.get(path);
    const fresh = { uid: `uid-${this.#version}`, creationTimestamp: new Date().toISOString(), generation: 0 };
    const metadata: Stored['metadata'] = {
      ...(before?.metadata ?? fresh),
      ...object.metadata,
      resourceVersion: String(++this.#version),
    };
    if (isNewSpec) metadata.generation = (before?.metadata.generation ?? 0) + 1;
    const status = object.status ?? before?.status;
    const stored = structuredClone({ ...object, metadata, ...(status && { status }) });
    this.objects.set(path, stored);
    this.#tell(before ? 'MODIFIED' : 'ADDED', path, stored);
    return stored;
  }

  #tell(type: string, path: string, object: Stored): void {
    for (const { matches, response } of this.#watchers) if (matches(path, object)) response.write(event(type, object));
  }
}

function event(type: string, object: Stored): string {
  return `${JSON.stringify({ type, object })}\n`;
}

function withName(body: Stored, name: string, collection: string): Stored {
  const namespace = /\/namespaces\/([^/]+)\//.exec(collection)?.[1] ?? '';
  return { ...body, metadata: { ...body.metadata, namespace: body.metadata.namespace ?? namespace, name } };
}

/** `/api/v1/services`, `/apis/g/v1/namespaces/n/things`, `/api/v1/namespaces`. */
function isCollection(path: string): boolean {
  return /^\/(api|apis\/[^/]+)\/[^/]+(\/namespaces\/[^/]+)?\/[^/]+$/.test(path);
}

/** Whether the object of this path is in this collection: of one namespace or of all. */
function isIn(collection: string, path: string): boolean {
  const parts = /^(.*\/v1\w*)(\/namespaces\/[^/]+)?\/([^/]+)$/.exec(collection);
  const own = /^(.*\/v1\w*)(\/namespaces\/[^/]+)?\/([^/]+)\/[^/]+$/.exec(path);
  if (!parts || !own || parts[1] !== own[1] || parts[3] !== own[3]) return false;
  return parts[2] === undefined || parts[2] === own[2];
}

function isSelected({ metadata }: Stored, selector: string | null): boolean {
  if (!selector) return true;
  return selector.split(',').every((pair) => {
    const [key = '', value] = pair.split('=');
    return metadata.labels?.[key] === value;
  });
}
