import { type Destination, keyOf, type ResourceMistake, SERVICE_PORTS } from '../resource.ts';
import type { LookUp } from './look-up.ts';
import type { Transport } from './reconcile.ts';

/** SAP's own manager looks every three minutes (config.manager.executionIntervalMinutes). */
const KEEP_MS = 3 * 60_000;

interface Kept {
  /** What of the resource it depends on. */
  question: string;
  at: number;
  answer: Transport | ResourceMistake;
}

/** What the Destination service said, for a while, and longer while it is down. */
export class KeptLookUp {
  readonly #lookUp: LookUp;
  readonly #kept = new Map<string, Kept>();

  constructor(lookUp: LookUp) {
    this.#lookUp = lookUp;
  }

  /** @throws where the service is down and nothing is known */
  async answer(resource: Destination): Promise<Transport | ResourceMistake> {
    const key = keyOf(resource);
    const question = JSON.stringify([resource.spec, resource.metadata.annotations]);
    const kept = this.#kept.get(key);
    const isSame = kept !== undefined && kept.question === question;
    if (isSame && Date.now() - kept.at < KEEP_MS) return kept.answer;
    try {
      const answer = await this.#lookUp(resource);
      this.#kept.set(key, { question, at: Date.now(), answer });
      return answer;
    } catch (error) {
      const known = isSame ? kept.answer : fromStatus(resource);
      if (known === undefined) throw error;
      return known;
    }
  }

  forget(key: string): void {
    this.#kept.delete(key);
  }
}

/** What an earlier leader was told. */
function fromStatus({ status }: Destination): Transport | undefined {
  if (!status?.protocol) return undefined;
  const secure = `${status.protocol}s` as const;
  return status.servicePort === SERVICE_PORTS[secure] ? secure : status.protocol;
}
