import { isDeepStrictEqual } from 'node:util';
import type { Api } from './api.ts';

/** Milliseconds after which a Secret or ConfigMap is read again; kubelets take longer with the ones that they mount. */
const AGAIN_MS = 10_000;
/** ... one that is not there, or could not be read: somebody is about to make it, as a rule. */
const MISSING_MS = 2_000;
/** Milliseconds between two requests in the long run, however many there are. */
const SPACING_MS = 40;
/** Milliseconds between two looks at what is due. */
const TICK_MS = 250;
/** Requests at once. */
const AT_ONCE = 8;

/** What is in a Secret or ConfigMap. */
export type Content =
  /** By key; of ConfigMaps too as octets, for a certificate in one may be in any encoding. */
  | { kind: 'data'; data: Record<string, Buffer> }
  | { kind: 'missing' }
  /** Why; what was known before may be used. */
  | { kind: 'unread'; text: string };

export interface Reference {
  kind: 'Secret' | 'ConfigMap';
  namespace: string;
  name: string;
}

export function referenceText({ kind, namespace, name }: Reference): string {
  return `${kind} ${namespace}/${name}`;
}

interface Entry {
  reference: Reference;
  content?: Content;
  /** Date.now() from which on it is read again. */
  due: number;
}

/**
 * The Secrets and ConfigMaps that resources name, read one by one and again after a while. Not watched: a watch is a connection of its own for each
 * of them, and takes the right to list Secrets; this takes `get` only, so that who steals a gateway's token can't even learn their names.
 */
export class Contents {
  readonly #api: Api;
  readonly #onChange: () => void;
  readonly #entries = new Map<string, Entry>();
  readonly #timer: NodeJS.Timeout;
  #work: Promise<void> | undefined;
  #closed = false;

  constructor(api: Api, onChange: () => void) {
    this.#api = api;
    this.#onChange = onChange;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** From now on these, and no others. Resolves when each was read, or could not be. */
  async want(references: Reference[]): Promise<void> {
    const wanted = new Map(references.map((reference) => [referenceText(reference), reference]));
    for (const key of this.#entries.keys()) if (!wanted.has(key)) this.#entries.delete(key);
    for (const [key, reference] of wanted) {
      if (!this.#entries.has(key)) this.#entries.set(key, { reference, due: 0 });
    }
    await this.#readAll([...this.#entries.values()].filter(({ content }) => content === undefined));
  }

  of(reference: Reference): Content {
    const content = this.#entries.get(referenceText(reference))?.content;
    return content ?? { kind: 'unread', text: 'not read yet' };
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#work) return;
    const due = [...this.#entries.values()].filter((entry) => entry.content && Date.now() >= entry.due);
    if (due.length === 0) return;
    this.#work = this.#readAll(due).then((changed) => {
      this.#work = undefined;
      if (changed && !this.#closed) this.#onChange();
    });
  }

  /** Whether one of them has changed. Never rejects. */
  async #readAll(entries: Entry[]): Promise<boolean> {
    const left = [...entries];
    let changed = false;
    const worker = async () => {
      for (let entry = left.shift(); entry && !this.#closed; entry = left.shift()) {
        if (await this.#read(entry)) changed = true;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return changed;
  }

  async #read(entry: Entry): Promise<boolean> {
    const content = await readContent(this.#api, entry.reference);
    const pace = this.#entries.size * SPACING_MS;
    entry.due = Date.now() + Math.max(content.kind === 'data' ? AGAIN_MS : MISSING_MS, pace);
    // An outage of the API server is no news of the Secret.
    if (isDeepStrictEqual(content, entry.content)) return false;
    if (content.kind === 'unread' && entry.content?.kind === 'data') return false;
    entry.content = content;
    return true;
  }
}

async function readContent(api: Api, { kind, namespace, name }: Reference): Promise<Content> {
  const plural = kind === 'Secret' ? 'secrets' : 'configmaps';
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/${plural}/${encodeURIComponent(name)}`;
  try {
    const { status, body } = await api.get(path);
    if (status === 404) return { kind: 'missing' };
    if (status !== 200) return { kind: 'unread', text: `the API server answers ${status}` };
    return { kind: 'data', data: kind === 'Secret' ? ofSecret(body) : ofConfigMap(body) };
  } catch {
    return { kind: 'unread', text: 'the API server does not answer' };
  }
}

function ofSecret(body: unknown): Record<string, Buffer> {
  const { data } = body as { data?: Record<string, string> };
  return mapped(data, 'base64');
}

function ofConfigMap(body: unknown): Record<string, Buffer> {
  const { data, binaryData } = body as { data?: Record<string, string>; binaryData?: Record<string, string> };
  return { ...mapped(data, 'utf8'), ...mapped(binaryData, 'base64') };
}

function mapped(data: Record<string, string> | undefined, encoding: BufferEncoding): Record<string, Buffer> {
  return Object.fromEntries(Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, encoding)]));
}
