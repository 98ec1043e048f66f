import { DRAFT_MS, GRANT_UNUSED_MS } from '../limits.ts';

/** A grant as it stands in the store: only `content` is secret. */
export interface Envelope {
  content?: string;
  /** Date.now() until which one process alone may ask the token service. */
  lease?: number;
  /** Date.now() when it was last asked for. */
  used: number;
  /** Of `postern login`: another one for each of its runs, so that a renewal which began before it does not undo it. */
  generation?: string;
}

/** Undefined where it is none: what can't be read is as if it were not there. */
export function readEnvelope(text: string | undefined): Envelope | undefined {
  try {
    return Object(JSON.parse(text ?? '')) as Envelope;
  } catch {
    return undefined;
  }
}

/** Whether nobody can miss it: half a year without use, or all that a killed process left is its lease. */
export function isOver(text: string, now = Date.now()): boolean {
  const { content, lease = 0, used = now } = readEnvelope(text) ?? {};
  return content === undefined ? now - lease > DRAFT_MS : now - used > GRANT_UNUSED_MS;
}
