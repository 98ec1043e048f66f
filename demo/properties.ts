import type { Protocol } from '../sidecar-auth/failure.ts';
import type { MailServer } from './mail-server/server.ts';
import { type OpenIdProvider, SCOPE } from './openid-provider.ts';
import type { Place } from './places.ts';

export const USER = 'demo@mail.demo';
/** The one client of the demo's provider. Where a browser comes back to after `postern login` (RFC 8252 section 7.3: any port). */
export const CLIENT_ID = 'postern-demo';
export const REDIRECT_URI = 'http://127.0.0.1/';

/** What only the Cloud Connector resolves. */
export const VIRTUAL_HOST = 'mail.onprem.internal';
export const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, pop3: 110, imap: 143 };

export interface Surroundings {
  mailServer: Pick<MailServer, 'ports'>;
  /** Whether the mail server offers STARTTLS, which is the default of the plain protocols. */
  starttls: boolean;
  provider: OpenIdProvider;
}

/** Where a secret stands: in a file beside the destination's, or in the property itself. */
export type Secret = (name: 'mail.password' | 'clientSecret') => Record<string, string>;

/** A destination in the Destination service's own property names. */
export function propertiesOf(place: Place, around: Surroundings, secret: Secret): Record<string, string> {
  const { destination, proxyType, transport, protocol, tls, authentication } = place;
  const onPremise = proxyType === 'OnPremise';
  const port = onPremise ? VIRTUAL_PORTS[protocol] : around.mailServer.ports[tls ? 'tls' : 'plain'][protocol];
  return {
    Name: destination,
    Type: 'MAIL',
    ProxyType: proxyType,
    Authentication: authentication,
    'mail.user': USER,
    'mail.transport.protocol': transport,
    [`mail.${transport}.host`]: onPremise ? VIRTUAL_HOST : 'localhost',
    [`mail.${transport}.port`]: `${port}`,
    ...(!onPremise && !tls && !around.starttls && { [`mail.${transport}.starttls.enable`]: 'false' }),
    ...(authentication === 'BasicAuthentication' ? secret('mail.password') : oauth(place, around, secret)),
  };
}

function oauth({ proxyType, authentication }: Place, { provider }: Surroundings, secret: Secret) {
  const withUser = authentication !== 'OAuth2ClientCredentials';
  return {
    clientId: CLIENT_ID,
    ...secret('clientSecret'),
    tokenServiceURL: provider.tokenEndpoint,
    tokenServiceURLType: 'Dedicated',
    // the mail server is behind the Cloud Connector, the provider is not
    ...(proxyType === 'OnPremise' && { 'tokenServiceURL.ProxyType': 'Internet' }),
    ...(withUser && { 'X-redirect-uri': REDIRECT_URI }),
    // for `postern login`, which is about files
    ...(withUser && proxyType === 'Internet' && { issuer: provider.issuer }),
    scope: withUser ? `${SCOPE} offline_access` : SCOPE,
  };
}
