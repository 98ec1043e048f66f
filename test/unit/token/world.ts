import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type OpenIdProvider, type OpenIdProviderOptions, startOpenIdProvider } from '../../../demo/openid-provider.ts';
import type { Destination } from '../../../sidecar-auth/destination/destination.ts';
import type { Grant } from '../../../sidecar-auth/destination/login.ts';
import type { ClientAuthentication, TokenService } from '../../../sidecar-auth/destination/token-service.ts';

export const AUDIENCE = 'urn:example:mail';
export const SECRET = 'geheim-0123456789-0123456789-0123456789';
export const REDIRECT = 'http://127.0.0.1/';
export const JANE = 'jane@example.com';

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** An OpenID provider with a service (client credentials), a web client, and a public client. */
export async function provider(options: Partial<OpenIdProviderOptions> = {}): Promise<OpenIdProvider> {
  const started = await startOpenIdProvider({
    clients: [
      { id: 'service', secret: SECRET, audience: AUDIENCE, user: JANE },
      { id: 'web', secret: SECRET, audience: AUDIENCE, redirectUris: [REDIRECT] },
      { id: 'public', audience: AUDIENCE, redirectUris: [REDIRECT] },
    ],
    resourceServers: [{ id: 'dovecot', secret: SECRET, audience: AUDIENCE }],
    users: [JANE],
    ...options,
  });
  onTestFinished(() => started.close());
  return started;
}

export function tokenService(url: string, more: Partial<TokenService> = {}): TokenService {
  return {
    url,
    urlType: 'Dedicated',
    clientId: 'web',
    authentication: secret(),
    scope: 'mail offline_access',
    body: {},
    headers: {},
    queries: {},
    ...more,
  };
}

export function secret(place: 'body' | 'header' | 'either' = 'either'): ClientAuthentication {
  return { kind: 'secret', secret: SECRET, in: place };
}

export function destination(grant: Grant, token: TokenService): Destination {
  return {
    name: 'office-mail',
    file: '/destinations/office-mail.json',
    onPremise: false,
    protocol: 'smtp',
    tls: true,
    starttls: false,
    verify: true,
    host: 'mail.example.com',
    port: 465,
    login: { kind: 'oauth', user: JANE, grant, token },
  };
}
