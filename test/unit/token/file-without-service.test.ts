import { createHash } from 'node:crypto';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import type { OpenIdProvider } from '../../../demo/openid-provider.ts';
import { Sources } from '../../../sidecar-auth/route/sources.ts';
import type { Route } from '../../../sidecar-auth/route/table.ts';
import type { TokenIssuer } from '../../../sidecar-auth/token/issuer.ts';
import { FILE, load } from '../sidecar-auth/files.ts';
import { JANE, provider, SECRET, temporaryFolder } from './world.ts';

/** The tokens of the one listener of FILE, whose destination is in a file; there is no Destination service. */
async function throughFile(op: OpenIdProvider, properties: object, listener: object): Promise<TokenIssuer> {
  const destination = {
    Name: 'mine',
    Type: 'MAIL',
    ProxyType: 'Internet',
    'mail.transport.protocol': 'smtps',
    'mail.smtps.host': 'mail.example.com',
    'mail.user': JANE,
    tokenServiceURL: op.tokenEndpoint,
    clientSecret: SECRET,
    ...properties,
  };
  const config = load({
    'postern.yaml': {
      ...FILE,
      grants: { directory: await temporaryFolder() },
      listeners: [{ destination: 'mine', address: '127.0.0.1:1587', ...listener }],
    },
    'destinations/mine.json': destination,
  });
  const sources = await Sources.open(config, '', pino({ enabled: false }));
  const found = config.destinations.get('mine');
  const [listenerOfFile] = config.listeners;
  const route = { listener: listenerOfFile, destination: found } as Partial<Route> as Route;
  expect(await sources.served(route)).toEqual({});
  return sources.issuer(route, found ?? expect.fail('no destination'));
}

it('tokenServiceURLType Common takes the tenant of the listener', async () => {
  const op = await provider();
  const properties = {
    Authentication: 'OAuth2ClientCredentials',
    clientId: 'service',
    tokenServiceURLType: 'Common',
    tokenServiceURL: `${op.issuer}/{tenant}`,
  };
  const right = await throughFile(op, properties, { tokenServiceTenant: 'token' });
  expect((await right.silent?.())?.value).toBeTruthy();
  expect(op.log).toHaveLength(1);
  const without = await throughFile(op, properties, {});
  await expect(without.silent?.()).rejects.toThrow('the listener needs tokenServiceTenant');
});

it('authorization codes are redeemed with what the listener says of them', async () => {
  const op = await provider();
  const codeVerifier = 'v'.repeat(43);
  const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
  const code = () => op.authorizationCode({ client: 'web', user: JANE, codeChallenge });
  const properties = { Authentication: 'OAuth2AuthorizationCode', clientId: 'web' };
  const listener = { redirectUri: 'http://127.0.0.1/', codeVerifier };
  const right = await throughFile(op, properties, listener);
  expect((await right.exchange?.(JANE, await code()))?.value).toBeTruthy();
  const without = await throughFile(op, properties, {});
  await expect(without.exchange?.(JANE, await code())).rejects.toThrow('invalid_grant');
});
