import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, loadConfig } from '../../../sidecar-auth/config/config.ts';
import type { Base } from '../../../sidecar-auth/kubernetes/gateway/base.ts';
import { type Content, type Reference, referenceText } from '../../../sidecar-auth/kubernetes/gateway/contents.ts';
import { Gateway } from '../../../sidecar-auth/kubernetes/gateway/gateway.ts';
import { type Destination, type DestinationSpec, GROUP } from '../../../sidecar-auth/kubernetes/resource.ts';
import { tempFolder } from '../sidecar-auth/files.ts';

/** The keys of a Secret. */
export const OFFICE = {
  Type: 'MAIL',
  ProxyType: 'Internet',
  Authentication: 'BasicAuthentication',
  'mail.transport.protocol': 'smtps',
  'mail.smtps.host': 'mail.example.com',
  'mail.user': 'jane',
  'mail.password': 'geheim-1',
};

export const SERVICES: Base = { destinations: { services: [{ name: 'main', binding: 'main-binding' }] } };

const PLAIN: DestinationSpec = { protocol: 'smtp', secretRef: { name: 'office' } };

export interface Wish {
  namespace?: string;
  name?: string;
  spec?: DestinationSpec;
  /** In its status; of the tenants, if there are such. */
  ports?: number[];
  tenants?: string[];
  created?: string;
  deleted?: boolean;
}

export function resource(wish: Wish = {}): Destination {
  const { namespace = 'shop', name = 'office', spec = PLAIN, ports = [20000], tenants, created, deleted } = wish;
  return {
    apiVersion: `${GROUP}/v1`,
    kind: 'Destination',
    metadata: {
      namespace,
      name,
      creationTimestamp: created ?? '2026-01-01T00:00:00Z',
      ...(deleted && { deletionTimestamp: '2026-01-02T00:00:00Z' }),
    },
    spec,
    ...(ports.length > 0 && {
      status: {
        ports: ports.map((port, index) => ({
          port,
          service: name,
          ...(tenants?.[index] !== undefined && { tenant: tenants[index] }),
        })),
      },
    }),
  };
}

/** Secrets and ConfigMaps by `Secret shop/office`; what is no mapping is why it can't be read. */
export type Cluster = Record<string, Record<string, string | Buffer> | string>;

export function contentOf(cluster: Cluster): (reference: Reference) => Content {
  return (reference) => {
    const found = cluster[referenceText(reference)];
    if (found === undefined) return { kind: 'missing' };
    if (typeof found === 'string') return { kind: 'unread', text: found };
    return {
      kind: 'data',
      data: Object.fromEntries(Object.entries(found).map(([key, value]) => [key, Buffer.from(value)])),
    };
  };
}

/** A gateway in a folder of its own. `update` returns what sidecar-auth makes of the files. */
export function world({ base = {}, folder = join(tempFolder(), 'private'), hosts = ['10.1.2.3'] }: WorldOptions = {}) {
  let current = base;
  const log: string[] = [];
  const say = (details: object, text: string) => log.push(`${JSON.stringify(details)} ${text}`);
  const gateway = new Gateway({
    folder,
    readBase: () => current,
    place: { hosts, placeholder: join(tempFolder(), 'none.sock') },
    log: { info: say, error: say },
  });
  const config = () => loadConfig(join(folder, 'postern.yaml'));
  return {
    folder,
    gateway,
    log,
    config,
    setBase: (next: Base) => {
      current = next;
    },
    update: (resources: Destination[], cluster: Cluster = { 'Secret shop/office': OFFICE }): Config => {
      gateway.update(resources, contentOf(cluster));
      return config();
    },
  };
}

interface WorldOptions {
  base?: Base;
  folder?: string;
  hosts?: string[];
}

/** All files below a folder with their permissions: `destinations/shop.office.json 600`. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => `${path.slice(folder.length + 1)} ${(statSync(path).mode & 0o777).toString(8)}`)
    .sort();
}

export function textIn(folder: string): string {
  return filesIn(folder)
    .map((line) => readFileSync(join(folder, line.split(' ')[0] ?? ''), 'utf8'))
    .join('\n');
}

/** `10.1.2.3:20000 shop/office` of each listener but the one that is always there. */
export function listenersOf({ listeners }: Config): string[] {
  return listeners.flatMap(({ address, destination }) =>
    'host' in address ? `${address.host}:${address.port} ${destination}` : [],
  );
}
