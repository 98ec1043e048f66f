import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../failure.ts';
import { SECRET_LIMIT } from '../limits.ts';
import type { GrantStore, Stored } from './store.ts';

export interface ClusterAccess {
  /** `https://host:port` of the API server. */
  server: string;
  /** Of the service account; read for each request, for it is rotated. */
  tokenFile: string;
  fetch: typeof fetch;
}

interface Secret {
  metadata: { resourceVersion: string };
  data?: Record<string, string>;
}

/** Attempts in all at a Secret that others write as well: they write when tokens are renewed, so a handful at a time. */
const ATTEMPTS = 20;
/** Milliseconds after which the list of names is read again when it is asked for. */
const NAMES_MS = 10_000;

/**
 * One Kubernetes Secret, one key per entry. Each write carries the Secret's resourceVersion, and the API server refuses it with 409 where another
 * write came first. Needs `get` and `patch` on this Secret, and `create` where it does not exist yet.
 */
export class KubernetesSecretStore implements GrantStore {
  readonly #access: ClusterAccess;
  readonly #collection: string;
  readonly #name: string;
  #names = new Set<string>();
  #namesAt = 0;

  constructor(access: ClusterAccess, place: { namespace: string; name: string }) {
    this.#access = access;
    this.#collection = `${access.server}/api/v1/namespaces/${encodeURIComponent(place.namespace)}/secrets`;
    this.#name = place.name;
  }

  async read(name: string): Promise<Stored | undefined> {
    return entryOf(await this.#secret(), name);
  }

  async write(name: string, text: string, version: string | undefined): Promise<string | undefined> {
    const value = Buffer.from(text).toString('base64');
    const done = await this.#swap(name, version, (secret) => ({
      ...this.#surplus(secret, name, value),
      [name]: value,
    }));
    return done ? versionOf(value) : undefined;
  }

  async remove(name: string, version: string): Promise<void> {
    await this.#swap(name, version, () => ({ [name]: null }));
  }

  has(name: string): boolean {
    if (Date.now() - this.#namesAt > NAMES_MS) {
      this.#namesAt = Date.now();
      this.#secret().catch(() => {});
    }
    return this.#names.has(name);
  }

  /** Reads the list of names for `has`. */
  async open(): Promise<void> {
    await this.#secret();
  }

  async #swap(
    name: string,
    version: string | undefined,
    data: (secret: Secret | undefined) => Record<string, string | null>,
  ): Promise<boolean> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const secret = await this.#secret();
      if (entryOf(secret, name)?.version !== version) return false;
      if (await this.#send(secret, data(secret))) return true;
      // Another entry was written in between, or this one: the next look tells.
      await sleep(Math.random() * 20 * attempt);
    }
    throw new Failure('token', `the Secret ${this.#name} is written by too many at once`);
  }

  async #secret(): Promise<Secret | undefined> {
    const response = await this.#request('GET', `/${this.#name}`);
    const secret = response.status === 404 ? undefined : ((await read(response)) as Secret);
    this.#names = new Set(Object.keys(secret?.data ?? {}));
    this.#namesAt = Date.now();
    return secret;
  }

  /** Whether it was written: 409 is a write that came first. */
  async #send(secret: Secret | undefined, data: Record<string, string | null>): Promise<boolean> {
    const response = secret
      ? await this.#request('PATCH', `/${this.#name}`, {
          metadata: { resourceVersion: secret.metadata.resourceVersion },
          data,
        })
      : await this.#request('POST', '', {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: this.#name },
          type: 'Opaque',
          data: Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null)),
        });
    if (response.status === 409) {
      await response.body?.cancel();
      return false;
    }
    await read(response);
    return true;
  }

  async #request(method: string, path: string, body?: object): Promise<Response> {
    const token = (await readFile(this.#access.tokenFile, 'utf8')).trim();
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return await this.#access.fetch(`${this.#collection}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...(body && { 'content-type': type }) },
      ...(body && { body: JSON.stringify(body) }),
    });
  }

  /** The entries to remove so that the Secret stays below its limit: the ones that were used the longest time ago. */
  #surplus(secret: Secret | undefined, name: string, value: string): Record<string, null> {
    const others = Object.entries(secret?.data ?? {}).filter(([key]) => key !== name);
    let size = value.length + others.reduce((sum, [key, text]) => sum + key.length + text.length, 0);
    const removable = others.filter(([key]) => key.startsWith('grant-')).sort((a, b) => usedAt(a[1]) - usedAt(b[1]));
    const surplus: Record<string, null> = {};
    for (const [key, text] of removable) {
      if (size <= SECRET_LIMIT) break;
      surplus[key] = null;
      size -= key.length + text.length;
    }
    return surplus;
  }
}

function entryOf(secret: Secret | undefined, name: string): Stored | undefined {
  const value = secret?.data?.[name];
  if (value === undefined) return undefined;
  return { text: Buffer.from(value, 'base64').toString('utf8'), version: versionOf(value) };
}

function versionOf(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** What could not be read was never used. */
function usedAt(value: string): number {
  try {
    const { used } = Object(JSON.parse(Buffer.from(value, 'base64').toString('utf8'))) as { used?: number };
    return Number(used ?? 0);
  } catch {
    return 0;
  }
}

async function read(response: Response): Promise<unknown> {
  if (response.ok) return await response.json();
  await response.body?.cancel();
  throw new Failure('token', `the store of grants can't be used (Kubernetes answers ${response.status})`);
}
