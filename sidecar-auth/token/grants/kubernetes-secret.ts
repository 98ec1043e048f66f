import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../failure.ts';
import { SECRET_WRITE_MS } from '../limits.ts';
import { SecretDraft } from './secret-draft.ts';
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

/** Milliseconds after which the list of names is read again when it is asked for. */
const NAMES_MS = 10_000;
/** Longest wait, in milliseconds, after another process wrote first; random, so that many do not come back together. */
const WAIT_MS = 200;

/** Something to do with the Secret as it is. Its result counts when what it changed in the draft is written. */
interface Job {
  run: (draft: SecretDraft) => unknown;
  /** Date.now() from which on it is not tried again. */
  until: number;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * One Kubernetes Secret, one key per entry. Each write carries the Secret's resourceVersion, and the API server refuses it with 409 where another
 * write came first. Whoever asks while a request is under way waits for the next: all who wait share one GET and one PATCH, so that a
 * process never competes with itself. Needs `get` and `patch` on this Secret, and `create` where it does not exist yet.
 */
export class KubernetesSecretStore implements GrantStore {
  readonly #access: ClusterAccess;
  readonly #collection: string;
  readonly #name: string;
  #jobs: Job[] = [];
  #isWorking = false;
  #names = new Set<string>();
  #namesAt = 0;

  constructor(access: ClusterAccess, place: { namespace: string; name: string }) {
    this.#access = access;
    this.#collection = `${access.server}/api/v1/namespaces/${encodeURIComponent(place.namespace)}/secrets`;
    this.#name = place.name;
  }

  read(name: string): Promise<Stored | undefined> {
    return this.#do((draft) => draft.read(name));
  }

  write(name: string, text: string, version: string | undefined): Promise<string | undefined> {
    return this.#do((draft) => (draft.read(name)?.version === version ? draft.write(name, text) : undefined));
  }

  remove(name: string, version: string): Promise<void> {
    return this.#do((draft) => {
      if (draft.read(name)?.version === version) draft.remove(name);
    });
  }

  has(name: string): boolean {
    if (Date.now() - this.#namesAt > NAMES_MS) {
      this.#namesAt = Date.now();
      this.open().catch(() => {});
    }
    return this.#names.has(name);
  }

  /** Reads the list of names for `has`. */
  async open(): Promise<void> {
    await this.read('');
  }

  #do<T>(run: (draft: SecretDraft) => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#jobs.push({ run, until: Date.now() + SECRET_WRITE_MS, resolve: resolve as Job['resolve'], reject });
    if (!this.#isWorking) this.#work();
    return promise;
  }

  /** Never rejects: errors are those of the jobs. */
  async #work(): Promise<void> {
    this.#isWorking = true;
    let lost = 0;
    while (this.#jobs.length > 0) {
      const jobs = this.#jobs.splice(0);
      const isDone = await this.#round(jobs).catch((error) => {
        for (const { reject } of jobs) reject(error);
        return true;
      });
      lost = isDone ? 0 : lost + 1;
      if (isDone) continue;
      await sleep(Math.random() * Math.min(WAIT_MS, 20 * lost));
      this.#jobs.unshift(...this.#inTime(jobs));
    }
    this.#isWorking = false;
  }

  /** Whether it is done with them, or another process wrote first. */
  async #round(jobs: Job[]): Promise<boolean> {
    const secret = await this.#secret();
    const draft = new SecretDraft(secret?.data);
    const settle = jobs.map((job) => attempted(job, draft));
    if (draft.isChanged && !(await this.#send(secret, draft))) return false;
    this.#names = new Set(draft.names);
    this.#namesAt = Date.now();
    for (const done of settle) done();
    return true;
  }

  #inTime(jobs: Job[]): Job[] {
    const late = jobs.filter(({ until }) => Date.now() >= until);
    for (const { reject } of late)
      reject(new Failure('token', `the Secret ${this.#name} is written by too many at once`));
    return jobs.filter((job) => !late.includes(job));
  }

  async #secret(): Promise<Secret | undefined> {
    const response = await this.#request('GET', `/${this.#name}`);
    if (response.status !== 404) return (await read(response)) as Secret;
    await response.body?.cancel();
    return undefined;
  }

  /** Whether it was written: 409 is a write that came first. */
  async #send(secret: Secret | undefined, { changes }: SecretDraft): Promise<boolean> {
    const response = secret
      ? await this.#request('PATCH', `/${this.#name}`, {
          metadata: { resourceVersion: secret.metadata.resourceVersion },
          data: changes,
        })
      : await this.#request('POST', '', {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: this.#name },
          type: 'Opaque',
          data: Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== null)),
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
}

/** Settles the job when it is called. */
function attempted({ run, resolve, reject }: Job, draft: SecretDraft): () => void {
  try {
    const result = run(draft);
    return () => resolve(result);
  } catch (error) {
    return () => reject(error);
  }
}

async function read(response: Response): Promise<unknown> {
  if (response.ok) return await response.json();
  await response.body?.cancel();
  throw new Failure('token', `the store of grants can't be used (Kubernetes answers ${response.status})`);
}
