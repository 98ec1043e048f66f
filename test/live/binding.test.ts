import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { type DestinationServiceSimulator, startDestinationService } from '../../demo/destination-service/service.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import { begin, sendMail } from './apps.ts';
import { freePorts } from './daemon.ts';
import { Wire } from './wire.ts';

/** Each has to get a token of its own for the Destination service when its first app comes, and keeps it from then on. */
const TENANTS = ['before', 'between', 'after'] as const;
type Tenant = (typeof TENANTS)[number];
const USER = 'user@binding.test';
const NAME = 'mail';
/** A refusal stands for 5 s. */
const REFUSAL_TIMEOUT = 10_000;

/** How the binding reaches the helper, and how it is replaced: at once, by a rename. */
const FORMS: Record<string, (home: string, values: object) => Promise<void>> = {
  'a JSON file': async (home, values) => {
    await writeFile(join(home, 'new'), JSON.stringify(values), { mode: 0o600 });
    await rename(join(home, 'new'), join(home, 'binding'));
  },
  // As Kubernetes mounts a Secret: each key is a link into `..data`, which is a link to the folder of the day.
  'a mounted secret': async (home, values) => {
    const folder = await mkdtemp(join(home, '..', 'day-'));
    for (const [key, value] of Object.entries(values)) await writeFile(join(folder, key), `${value}`, { mode: 0o600 });
    const binding = join(home, 'binding');
    if (await mkdir(binding, { recursive: true })) {
      for (const key of Object.keys(values)) await symlink(join('..data', key), join(binding, key));
    }
    await symlink(folder, join(binding, '..new'));
    await rename(join(binding, '..new'), join(binding, '..data'));
  },
};

let dir: string;
let server: MailServer;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'binding-'));
  const tls = await (await createCertificates(dir)).issue('localhost');
  server = await startMailServer({ accounts: { [USER]: 'password' }, tls });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(async () => {
  await server?.close();
  await rm(dir, { recursive: true, force: true });
});

async function startService(): Promise<DestinationServiceSimulator> {
  const destination = {
    Name: NAME,
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': USER,
    'mail.password': 'password',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': `${server.ports.plain.smtp}`,
    'mail.smtp.starttls.enable': 'false',
  };
  const account = { subaccount: { destinations: [destination] } };
  const service = await startDestinationService({
    accounts: { provider: {}, ...Object.fromEntries(TENANTS.map((tenant) => [tenant, account])) },
    provider: 'provider',
  });
  cleanups.push(() => service.close());
  return service;
}

/** Postern with a listener for each tenant. */
async function startPostern(home: string): Promise<{ postern: Running; ports: Record<Tenant, number> }> {
  const free = await freePorts(TENANTS.length);
  const ports = Object.fromEntries(TENANTS.map((tenant, index) => [tenant, free[index]])) as Record<Tenant, number>;
  const main = {
    destinations: { services: [{ name: 'main', binding: './binding' }] },
    grants: { directory: './grants' },
    listeners: TENANTS.map((tenant) => ({
      ...{ destination: NAME, protocol: 'smtp', tenant },
      address: `127.0.0.1:${ports[tenant]}`,
    })),
  };
  const configFile = join(home, 'postern.yaml');
  await writeFile(configFile, JSON.stringify(main));
  const postern = await up({ configFile, workers: 1, logFile: join(home, 'log') });
  cleanups.push(() => postern.stop());
  return { postern, ports };
}

/** A silent app's whole dialogue: undefined, or the first answer that was not right. */
async function session(port: number): Promise<string | undefined> {
  const wire = await Wire.open(port);
  try {
    await begin(wire, 'smtp', 'silent');
    await sendMail(wire, 'silent', USER, 'Subject: binding\r\n\r\nbinding\r\n');
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    wire.close();
  }
}

it.each(Object.entries(FORMS))('a binding replaced while running is used: %s', { timeout: 120_000 }, async (_, put) => {
  const home = await mkdtemp(join(dir, 'home-'));
  const service = await startService();
  await put(home, service.binding);
  const { ports } = await startPostern(home);
  const tokenRequests = () => service.log.filter(({ what }) => what === 'token').map(({ status }) => status);
  const start = tokenRequests().length;

  expect(await session(ports.before)).toBeUndefined();
  expect(tokenRequests().slice(start)).toEqual([200]);

  service.rotate();
  expect(await session(ports.between)).toMatch(/postern: mail: token: /);
  expect(tokenRequests().at(-1)).toBe(401);

  await put(home, service.binding);
  const replaced = tokenRequests().length;
  expect(await session(ports.after)).toBeUndefined();
  await expect.poll(() => session(ports.between), { timeout: REFUSAL_TIMEOUT }).toBeUndefined();
  // who came before the change goes on
  expect(await session(ports.before)).toBeUndefined();
  expect(new Set(tokenRequests().slice(replaced))).toEqual(new Set([200]));
});
