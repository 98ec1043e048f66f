/** A destination of the Destination service, and what asking for it takes. */
export interface DestinationRef {
  name: string;
  /** Which of several service instances; absent: the first. */
  instance?: string;
  /** The subscriber's subdomain; absent: the provider. */
  tenant?: string;
  /** Where the destination lies; absent: the instance first, then the subaccount. */
  level?: 'subaccount' | 'instance' | 'provider_subaccount' | 'provider_instance';
  /** Names separated by commas, each with `@level` where it lies elsewhere than the destination. */
  fragment?: { name: string; optional: boolean };
  chain?: { name: string; variables: Record<string, string> };
  /** The tenant to get tokens for, where the destination's tokenServiceURLType is Common. */
  tokenServiceTenant?: string;
  /** For authorization codes: what they were asked for with. */
  redirectUri?: string;
  codeVerifier?: string;
}

/** Equal for references that get the same answers. The tenant is part of it. */
export function keyOf(reference: DestinationRef): string {
  return JSON.stringify(sorted(reference));
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]);
}
