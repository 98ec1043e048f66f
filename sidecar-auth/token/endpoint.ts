import { isSafeUrl, type TokenService } from '../destination/token-service.ts';
import { Failure } from '../failure.ts';

/**
 * tokenServiceURL with the tenant in it: at {tenant}, else as a subdomain (SAP: "OAuth Client Credentials Authentication"), and with
 * tokenServiceURL.queries.*.
 * @throws Failure token
 */
export function tokenEndpoint(service: TokenService, tenant: string | undefined): URL {
  const text = service.urlType === 'Common' ? common(service.url, tenant) : service.url;
  // Destinations of the Destination service are not checked at load: it may reach hosts that we don't.
  if (!isSafeUrl(text)) throw new Failure('token', 'tokenServiceURL must be an https URL', { retry: false });
  const url = new URL(text);
  for (const [key, value] of Object.entries(service.queries)) url.searchParams.set(key, value);
  return url;
}

/**
 * One of a destination's other URLs, with the tenant at {tenant}, which is there only where tokenServiceURLType is Common.
 * @throws Failure token
 */
export function withTenant(url: string, tenant: string | undefined): string {
  return url.includes('{tenant}') ? url.replaceAll('{tenant}', () => subdomain(tenant)) : url;
}

function common(url: string, tenant: string | undefined): string {
  return url.includes('{tenant}') ? withTenant(url, tenant) : url.replace('://', `://${subdomain(tenant)}.`);
}

function subdomain(tenant: string | undefined): string {
  if (tenant === undefined) {
    throw new Failure('token', 'tokenServiceURLType is Common: the listener needs tokenServiceTenant', {
      retry: false,
    });
  }
  // It becomes a part of a host name: nothing that could end one.
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(tenant)) {
    throw new Failure('token', 'tokenServiceTenant must be a subdomain', { retry: false });
  }
  return tenant;
}
