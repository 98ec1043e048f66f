import { Failure } from '../failure.ts';
import { secureUrl } from '../http.ts';
import type { DestinationRef } from './reference.ts';

/** What the service is to do about tokens: nothing, get one by itself, or exchange what an app brought. */
export type Want = 'configuration' | 'token' | { refreshToken: string } | { code: string };

/**
 * "Find a Destination" (v1), or with a level the "Consume" API (v2).
 * @param uri of the service binding
 * @throws Failure unknown_destination where the reference or the binding can't be put into a request
 */
export function destinationRequest(uri: string, ref: DestinationRef, want: Want): { url: URL; headers: Headers } {
  const name = encodeURIComponent(ref.name);
  const path = ref.level ? `v2/destinations/${name}@${ref.level}` : `v1/destinations/${name}`;
  const url = secureUrl(`${uri.replace(/\/+$/, '')}/destination-configuration/${path}`);
  if (!url) throw unusable('the uri of the service binding must be an https address without credentials');
  if (want === 'configuration') url.search = '$skipTokenRetrieval=true';
  const headers = new Headers({ accept: 'application/json' });
  for (const [header, value] of headersOf(ref, want)) headers.set(header, checked(header, value));
  return { url, headers };
}

function headersOf({ fragment, chain, tokenServiceTenant, ...ref }: DestinationRef, want: Want): [string, string][] {
  const headers: [string, string | undefined][] = [
    ['X-fragment-name', fragment?.name],
    ['X-fragment-optional', fragment?.optional ? 'true' : undefined],
    ['X-chain-name', chain?.name],
    ...Object.entries(chain?.variables ?? {}).map(([key, value]): [string, string] => [`X-chain-var-${key}`, value]),
    // The service's own header for {tenant} in the tokenServiceURL, which SAP's client sends; the other name is that
    // of SAP's Transparent Proxy for the same value.
    ['X-tenant', tokenServiceTenant],
    ['X-token-service-tenant', tokenServiceTenant],
  ];
  if (typeof want === 'object' && 'refreshToken' in want) headers.push(['X-refresh-token', want.refreshToken]);
  if (typeof want === 'object' && 'code' in want) {
    headers.push(['X-code', want.code], ['X-redirect-uri', ref.redirectUri], ['X-code-verifier', ref.codeVerifier]);
  }
  return headers.filter((header): header is [string, string] => header[1] !== undefined);
}

/** VSCHAR (RFC 6749 appendix A): anything else would be refused or changed on the way. */
function checked(header: string, value: string): string {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) return value;
  const text = `${header} must be printable ASCII`;
  throw /^X-(refresh-token|code)$/.test(header) ? new Failure('token', text, { retry: false }) : unusable(text);
}

function unusable(text: string): Failure {
  return new Failure('unknown_destination', text);
}
