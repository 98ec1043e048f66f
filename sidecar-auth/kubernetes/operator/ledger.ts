import { type Api, isConflict, isNotFound } from './api.ts';
import { pathOf } from './objects.ts';
import type { Ports, Rest } from './ports.ts';

interface ConfigMap {
  apiVersion: 'v1';
  kind: 'ConfigMap';
  metadata: { name: string; namespace: string; resourceVersion?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
}

const KIND = { apiVersion: 'v1', kind: 'ConfigMap' } as const;

/** The ports that rest, in a ConfigMap beside the gateway: by each port's number when it was freed, and who had it. */
export class Ledger {
  readonly #api: Api;
  readonly #place: { name: string; namespace: string };
  /** False from a port's retirement until that is written. */
  isWritten = true;
  /** One write at a time; each writes all that is known then. */
  #last: Promise<void> = Promise.resolve();

  constructor(api: Api, place: { name: string; namespace: string }) {
    this.#api = api;
    this.#place = place;
  }

  async read(): Promise<Map<number, Rest>> {
    const map = await this.#get();
    return new Map(Object.entries(map?.data ?? {}).map(([port, text]) => [Number(port), restOf(text)]));
  }

  /** Resolves when all that `ports` says is written down. A write that failed is made up for by whoever comes next. */
  async keep(ports: Ports): Promise<void> {
    const kept = this.#last.then(() => (this.isWritten ? undefined : this.#write(ports)));
    this.#last = kept.catch(() => {});
    await kept;
  }

  async #write(ports: Ports): Promise<void> {
    this.isWritten = true;
    const resting = [...ports.resting(Date.now())];
    const data = Object.fromEntries(resting.map(([port, rest]) => [String(port), textOf(rest)]));
    const { namespace, name } = this.#place;
    try {
      const map = await this.#get();
      if (map) await this.#api.replace(pathOf(KIND, namespace, name), { ...map, data });
      else await this.#api.create(pathOf(KIND, namespace), { ...KIND, metadata: this.#place, data });
    } catch (error) {
      this.isWritten = false;
      if (isConflict(error)) throw new Error(`the ConfigMap ${name} is written by someone else`, { cause: error });
      throw error;
    }
  }

  async #get(): Promise<ConfigMap | undefined> {
    const { namespace, name } = this.#place;
    return await this.#api.get<ConfigMap>(pathOf(KIND, namespace, name)).catch((error) => {
      if (!isNotFound(error)) throw error;
      return undefined;
    });
  }
}

/** `2026-01-01T00:00:00.000Z shop/office red` */
function textOf({ since, owner }: Rest): string {
  return `${new Date(since).toISOString()} ${owner}`;
}

function restOf(text: string): Rest {
  const [since = '', ...owner] = text.split(' ');
  return { since: Date.parse(since), owner: owner.join(' ') };
}
