import { readFileSync } from 'node:fs';
import { lstat, mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { GrantPlace } from '../../config/service.ts';
import { Failure } from '../../failure.ts';
import { createFetch } from '../../http.ts';
import { DirectoryStore } from './directory.ts';
import { Grants } from './grants.ts';
import { KubernetesSecretStore } from './kubernetes-secret.ts';
import type { GrantStore, StoreLog } from './store.ts';

/** Where Kubernetes mounts a service account into each pod. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Opens the store that FILE's `grants` names; a folder is made where there is none. One that others may write is not used: who can put
 * a grant there lets silent apps write in another's name.
 * @throws Failure token where the folder can't be used, or a Secret is named and this is no pod
 */
export async function openGrants(
  place: GrantPlace,
  { log, environment = process.env }: { log?: StoreLog; environment?: NodeJS.ProcessEnv } = {},
): Promise<Grants> {
  const store =
    place.kind === 'secret'
      ? await openSecret(place, environment)
      : await openDirectory(place.path, place.chosen === true);
  return new Grants(store, { ...(log && { log }) });
}

async function openDirectory(path: string, chosen: boolean): Promise<GrantStore> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await checkOwner(path);
    const store = new DirectoryStore(path);
    await store.prune();
    return store;
  } catch (error) {
    const reason = error instanceof Failure ? error.message : (error as NodeJS.ErrnoException).code;
    const failure = new Failure('token', `the folder of grants ${path} can't be used (${reason})`, {
      retry: !(error instanceof Failure),
      cause: error,
    });
    // Where nobody asked for grants, a home that can't be written must not stop mail that needs none.
    if (chosen) throw failure;
    return error instanceof Failure ? closed(failure) : new DirectoryStore(path);
  }
}

/** Of the folder itself, wherever a symbolic link leads to it. */
async function checkOwner(path: string): Promise<void> {
  const { uid, mode } = await lstat(await realpath(path));
  if (mode & 0o022) throw new Failure('token', 'others may write to it: chmod go-w');
  if (process.getuid && uid !== process.getuid()) throw new Failure('token', 'it belongs to another user');
}

function closed(failure: Failure): GrantStore {
  const refuse = () => Promise.reject(failure);
  return { read: refuse, write: refuse, remove: refuse, has: () => false };
}

async function openSecret(
  place: GrantPlace & { kind: 'secret' },
  { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' }: NodeJS.ProcessEnv,
): Promise<KubernetesSecretStore> {
  if (!host) throw new Failure('token', 'grants.secret needs a Kubernetes pod', { retry: false });
  const access = {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tokenFile: join(SERVICE_ACCOUNT, 'token'),
    fetch: createFetch({ ca: readFileSync(join(SERVICE_ACCOUNT, 'ca.crt'), 'utf8') }),
  };
  const store = new KubernetesSecretStore(access, place);
  // Where it can't be read yet, mail that needs no grant goes on.
  await store.open().catch(() => {});
  return store;
}
