import { isDeepStrictEqual } from 'node:util';
import type { Condition, Destination, DestinationStatus, Reason } from '../resource.ts';

/** What a condition says. */
export interface Verdict {
  reason: Reason;
  message: string;
}

/** The status with this verdict; the time stays while the condition's status does. */
export function withVerdict(
  { metadata, status: last }: Destination,
  status: DestinationStatus,
  { reason, message }: Verdict,
  now: number,
): DestinationStatus {
  const observedGeneration = metadata.generation ?? 0;
  const before = last?.conditions?.find(({ type }) => type === 'Available');
  const truth = reason === 'ConfigurationSuccessful' ? 'True' : 'False';
  const condition: Condition = {
    type: 'Available',
    status: truth,
    reason,
    message,
    observedGeneration,
    lastTransitionTime: before?.status === truth ? before.lastTransitionTime : timestamp(now),
  };
  return { ...status, observedGeneration, conditions: [condition] };
}

/** Kubernetes' times have no fractions of a second. */
export function timestamp(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`;
}

export function availableOf(status: DestinationStatus | undefined): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === 'Available');
}

export function isSameStatus(one: DestinationStatus | undefined, other: DestinationStatus | undefined): boolean {
  return isDeepStrictEqual(one ?? {}, other ?? {});
}
