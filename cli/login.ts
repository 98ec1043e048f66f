import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeCaBundle } from '../envoy/ca-bundle.ts';
import { type Config, loadConfig } from '../sidecar-auth/config/config.ts';
import type { Destination } from '../sidecar-auth/destination/destination.ts';
import type { TokenService } from '../sidecar-auth/destination/token-service.ts';
import { Failure } from '../sidecar-auth/failure.ts';
import { createFetch } from '../sidecar-auth/http.ts';
import { tokenEndpoint } from '../sidecar-auth/token/endpoint.ts';
import { ownerOf } from '../sidecar-auth/token/file-issuer.ts';
import type { GrantOwner } from '../sidecar-auth/token/grants/grants.ts';
import { openGrants } from '../sidecar-auth/token/grants/open.ts';
import { TokenClient } from '../sidecar-auth/token/request.ts';
import { type Consent, consentByBrowser } from './login-browser.ts';
import { consentByDevice } from './login-device.ts';
import { consentEndpoint } from './login-endpoints.ts';
import { StartFailure } from './start-failure.ts';

export interface LoginOptions {
  configFile: string;
  /** The destination's name. */
  destination: string;
  /** A code for another device (RFC 8628) in place of a browser on this one. */
  device: boolean;
  /** Lines for people. */
  say: (line: string) => void;
}

/**
 * Asks a person for consent once, and stores the refresh token for this destination, which must be in a file: from then on applications
 * that never log in send mail through it. Resolves when it is stored.
 * @throws ConfigMistakes where the configuration is wrong
 * @throws StartFailure where the destination is not one for it, or there is no consent
 */
export async function login({ configFile, destination: name, device, say }: LoginOptions): Promise<void> {
  const config = loadConfig(resolve(configFile));
  const { user, service } = suitable(config.destinations.get(name), name, config);
  try {
    const tenants = tenantsOf(config, name);
    const owner = ownerOf(name, service, user, tenants);
    const consent = consentFor(config, service, user, tenants.tokenServiceTenant, say);
    const kind = device ? 'deviceAuthorizationURL' : 'authorizationURL';
    const endpoint = await consentEndpoint(service, kind, tenants.tokenServiceTenant, consent.fetch);
    const grants = await openGrants(config.grants);
    const tokens = await (device ? consentByDevice(consent, endpoint) : consentByBrowser(consent, endpoint));
    if (tokens.refreshToken === undefined) throw new StartFailure(NO_REFRESH_TOKEN);
    await grants.storeLogin(owner, tokens);
    say(`${described(owner)}: applications that don't log in send and read as this user. ${WHEN}`);
  } catch (error) {
    throw error instanceof Failure ? new StartFailure(error.message) : error;
  }
}

/** So long the filter may keep an answer (docs/contract.md, `keep`), also the one that there is no grant. */
const WHEN = 'A Postern that runs takes it up within two minutes';

const NO_REFRESH_TOKEN =
  'the token service gave no refresh token: ask for one (scope offline_access; Google: access_type=offline in authorizationURL)';

function described({ destination, user }: GrantOwner): string {
  return `destination "${destination}", user ${user}`;
}

function suitable(
  destination: Destination | undefined,
  name: string,
  config: Config,
): { user: string; service: TokenService } {
  if (!destination) {
    const hint = config.services.length > 0 ? '. Destinations of the Destination service can have no such grant' : '';
    throw new StartFailure(`there is no destination file with the name "${name}"; there are ${names(config)}${hint}`);
  }
  const { login } = destination;
  if (login.kind !== 'oauth' || login.grant === 'client_credentials') {
    throw new StartFailure(`"${name}" needs no login: it is for OAuth2RefreshToken and OAuth2AuthorizationCode`);
  }
  if (login.token.refreshToken !== undefined) {
    throw new StartFailure(`"${name}" has refreshTokenFile, which would win: remove one of both`);
  }
  if (login.user === undefined) throw new StartFailure(`"${name}" needs mail.user: who is to log in`);
  return { user: login.user, service: login.token };
}

function names({ destinations }: Config): string {
  return [...destinations.keys()].join(', ') || 'none';
}

/** Of the first listener that leads to it, as the running Postern has them. */
function tenantsOf({ listeners }: Config, name: string): { tenant?: string; tokenServiceTenant?: string } {
  const { tenant, tokenServiceTenant } = listeners.find(({ destination }) => destination === name)?.service ?? {};
  return { ...(tenant !== undefined && { tenant }), ...(tokenServiceTenant !== undefined && { tokenServiceTenant }) };
}

function consentFor(
  config: Config,
  service: TokenService,
  user: string,
  tenant: string | undefined,
  say: (line: string) => void,
): Consent & { fetch: typeof fetch } {
  const ca = trusted(config.tls.additionalCAs);
  const fetch = createFetch({ ca });
  return { service, user, say, fetch, client: new TokenClient(service, tokenEndpoint(service, tenant), { ca, fetch }) };
}

/** The system's CAs and the additional ones, as the running Postern trusts them. */
function trusted(additionalCAs: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'postern-login-'));
  try {
    writeCaBundle(join(folder, 'ca.pem'), additionalCAs);
    return readFileSync(join(folder, 'ca.pem'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true });
  }
}
