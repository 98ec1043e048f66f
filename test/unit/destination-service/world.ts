import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import {
  type DestinationServiceOptions,
  type DestinationServiceSimulator,
  startDestinationService,
} from '../../../demo/destination-service/service.ts';
import { DestinationService } from '../../../sidecar-auth/destination-service/service.ts';
import { type FetchWith, fetchesOf } from '../../../sidecar-auth/http.ts';
import { DirectoryStore } from '../../../sidecar-auth/token/grants/directory.ts';
import { Grants } from '../../../sidecar-auth/token/grants/grants.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function afterwards(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-service-'));
  afterwards(() => rm(folder, { recursive: true }));
  return folder;
}

export async function simulator(options: DestinationServiceOptions): Promise<DestinationServiceSimulator> {
  const running = await startDestinationService(options);
  afterwards(() => running.close());
  return running;
}

export const MAIL = {
  Name: 'office',
  Type: 'MAIL',
  ProxyType: 'Internet',
  'mail.transport.protocol': 'smtp',
  'mail.smtp.host': 'mail.example',
  'mail.user': 'robot@example',
};

export const BASIC = { ...MAIL, Authentication: 'BasicAuthentication', 'mail.password': 'p4ssw0rd' };

/** The helper's side of a simulator, by a binding in a file; `rewrite` after `rotate` puts the new one in its place. */
export async function service(
  running: DestinationServiceSimulator,
  options: { fetchWith?: FetchWith; grants?: string } = {},
) {
  const file = join(await temporaryFolder(), 'binding.json');
  const rewrite = () => writeFile(file, JSON.stringify(running.binding));
  await rewrite();
  const waits: number[] = [];
  const logged: unknown[] = [];
  const source = new DestinationService({
    instances: [{ name: 'main', binding: file }],
    fetchWith: options.fetchWith ?? fetchesOf(),
    grants: new Grants(new DirectoryStore(options.grants ?? (await temporaryFolder()))),
    log: { warn: (...line) => void logged.push(line) },
    retries: { wait: async (ms) => void waits.push(ms) },
  });
  return { source, file, rewrite, waits, logged };
}
