import * as oauth from 'oauth4webapi';
import { isSafeUrl, type TokenService } from '../sidecar-auth/destination/token-service.ts';
import { withTenant } from '../sidecar-auth/token/endpoint.ts';
import { boundedText } from '../sidecar-auth/token/request.ts';
import { StartFailure } from './start-failure.ts';

/** What discovery calls the two properties (RFC 8414 section 2, RFC 8628 section 4). */
const METADATA = {
  authorizationURL: 'authorization_endpoint',
  deviceAuthorizationURL: 'device_authorization_endpoint',
} as const;

/**
 * Where consent is asked for: as the destination says, else as the metadata of its `issuer` say (OpenID Connect Discovery 1.0).
 * @throws StartFailure
 * @throws Failure token where the tenant does not fit
 */
export async function consentEndpoint(
  service: TokenService,
  kind: keyof typeof METADATA,
  tenant: string | undefined,
  fetch: typeof globalThis.fetch,
): Promise<string> {
  const own = service[kind];
  if (own !== undefined) return withTenant(own, tenant);
  if (service.issuer === undefined) throw new StartFailure(`the destination needs ${kind} or issuer`);
  const issuer = withTenant(service.issuer, tenant);
  const found = (await metadata(new URL(issuer), fetch))[METADATA[kind]];
  if (found === undefined) throw new StartFailure(`${issuer} has no ${METADATA[kind]}`);
  if (!isSafeUrl(found)) throw new StartFailure(`the ${METADATA[kind]} of ${issuer} is not an https URL`);
  return found;
}

async function metadata(issuer: URL, fetch: typeof globalThis.fetch): Promise<oauth.AuthorizationServer> {
  try {
    const response = await oauth.discoveryRequest(issuer, {
      [oauth.customFetch]: (url, options) => fetch(url, options as unknown as RequestInit),
      [oauth.allowInsecureRequests]: issuer.protocol === 'http:',
    });
    // undici's own Response is another class than Node's.
    return await oauth.processDiscoveryResponse(issuer, new Response(await boundedText(response), response));
  } catch (error) {
    throw new StartFailure(`${issuer.href}: its OpenID configuration can't be read (${(error as Error).message})`);
  }
}
