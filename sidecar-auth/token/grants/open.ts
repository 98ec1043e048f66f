import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { GrantPlace } from '../../config/service.ts';
import { Failure } from '../../failure.ts';
import { createFetch } from '../../http.ts';
import { DirectoryStore } from './directory.ts';
import { Grants } from './grants.ts';
import { KubernetesSecretStore } from './kubernetes-secret.ts';

/** Where Kubernetes mounts a service account into each pod. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Opens the store that FILE's `grants` names; a folder is made where there is none.
 * @throws Failure token where the folder can't be used, or a Secret is named and this is no pod
 */
export async function openGrants(place: GrantPlace, environment = process.env): Promise<Grants> {
  if (place.kind === 'secret') return new Grants(await openSecret(place, environment));
  return new Grants(await openDirectory(place.path, place.chosen === true));
}

async function openDirectory(path: string, chosen: boolean): Promise<DirectoryStore> {
  const store = new DirectoryStore(path);
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await store.prune((name) => !name.startsWith('grant-'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Where nobody asked for grants, a home that can't be written must not stop mail that needs none.
    if (chosen) throw new Failure('token', `the folder of grants ${path} can't be used (${code})`, { cause: error });
  }
  return store;
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
