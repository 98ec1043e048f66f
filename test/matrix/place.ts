import { createHash, randomBytes } from 'node:crypto';
import type { OpenIdClient } from '../../demo/openid-provider.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { baseOf, type Row, usesTls } from './rows.ts';

/** A row's destination, or its twin's: with an account, a client at the provider and a listener of its own. */
export interface Place {
  row: Row;
  isTwin: boolean;
  /** Of the destination and of the client. */
  name: string;
  /** The mail account; its password is only used to look at the mailbox where the destination has OAuth. */
  user: string;
  password: string;
  clientSecret: string;
  /** PKCE (RFC 7636), where the listener says so. */
  codeVerifier?: string;
  /** Of the listener, on 127.0.0.1. */
  port: number;
}

/** Subdomains: the provider's, and a subscriber's without a mail server. */
export const TENANT = 'acme';
export const OTHER_TENANT = 'other';

/** What nothing but the Cloud Connector resolves. */
export const VIRTUAL_HOST = 'mail.onprem.internal';
export const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, pop3: 110, imap: 143 };
export const VIRTUAL_TLS_PORTS: Record<Protocol, number> = { smtp: 465, pop3: 995, imap: 993 };
/** The same servers, where they offer no mechanism for tokens but OAUTHBEARER. */
export const VIRTUAL_BEARER_PORTS: Record<Protocol, number> = { smtp: 1587, pop3: 1110, imap: 1143 };
export const VIRTUAL_PROVIDER = { host: 'idp.onprem.internal', port: 8080 };
export const LOCATION = 'site-1';

export const MAIL_AUDIENCE = 'https://mail.example.test';
const OTHER_AUDIENCE = 'https://calendar.example.test';
const REDIRECT_URI = 'https://app.example.test/callback';

const secret = () => randomBytes(18).toString('base64url');

export function placeOf(row: Row, isTwin: boolean, port: number): Place {
  const name = isTwin ? `${row.name}-twin` : row.name;
  const place = { row, isTwin, name, user: `${name}@example.test`, password: secret(), clientSecret: secret(), port };
  // half of the rows; the others have codes without a challenge
  const withPkce = row.authentication === 'OAuth2AuthorizationCode' && row.proxyType === 'Internet';
  return withPkce ? { ...place, codeVerifier: randomBytes(32).toString('base64url') } : place;
}

/** Only the twin is wrong, and only in one thing. */
function fault({ row, isTwin }: Place): Row['fault'] | undefined {
  return isTwin ? row.fault : undefined;
}

export function tenantOf(place: Place): string {
  return fault(place) === 'wrong tenant' ? OTHER_TENANT : TENANT;
}

/** What the provider knows of it; undefined for passwords. */
export function clientOf(place: Place): OpenIdClient | undefined {
  const { name, user, clientSecret, row } = place;
  if (row.authentication === 'BasicAuthentication') return undefined;
  const audience = fault(place) === 'wrong audience' ? OTHER_AUDIENCE : MAIL_AUDIENCE;
  return { id: name, secret: clientSecret, audience, user, redirectUris: [REDIRECT_URI] };
}

/** For an authorization code as the destination's listener can redeem it. */
export function codeTerms({ name, user, codeVerifier }: Place) {
  const codeChallenge = codeVerifier && createHash('sha256').update(codeVerifier).digest('base64url');
  return { client: name, user, ...(codeChallenge && { codeChallenge }) };
}

export function listenerOf(place: Place): object {
  const { name, row, port, codeVerifier } = place;
  const isServed = row.variant !== 'file';
  return {
    destination: name,
    address: `127.0.0.1:${port}`,
    ...(isServed && { protocol: baseOf(row.protocol), tenant: tenantOf(place) }),
    ...(codeVerifier && { redirectUri: REDIRECT_URI, codeVerifier }),
  };
}

export interface Surroundings {
  /** DNS name of the mail servers, as in their certificate. */
  mailHost: string;
  mailPort: (row: Row) => number;
  tokenEndpoint: string;
}

/** In the Destination service's own property names. */
export function propertiesOf(place: Place, around: Surroundings): Record<string, string> {
  const { name, user, row } = place;
  const onPremise = row.proxyType === 'OnPremise';
  // SAP's words for IMAP are imap4 and imap4s
  const transport = row.protocol.replace('imap', 'imap4');
  return {
    Name: name,
    Type: 'MAIL',
    ProxyType: row.proxyType,
    Authentication: row.authentication,
    'mail.user': user,
    'mail.transport.protocol': transport,
    [`mail.${transport}.host`]: onPremise ? VIRTUAL_HOST : around.mailHost,
    [`mail.${transport}.port`]: `${onPremise ? virtualPorts(row)[baseOf(row.protocol)] : around.mailPort(row)}`,
    ...(onPremise && { CloudConnectorLocationId: LOCATION }),
    ...(row.variant === 'plain' && { [`mail.${transport}.starttls.enable`]: 'false' }),
    ...(row.variant === 'starttls' && { [`mail.${transport}.starttls.enable`]: 'true' }),
    ...credentials(place, around),
  };
}

function virtualPorts({ protocol, variant }: Row): Record<Protocol, number> {
  if (variant === 'oauthbearer') return VIRTUAL_BEARER_PORTS;
  return usesTls(protocol) ? VIRTUAL_TLS_PORTS : VIRTUAL_PORTS;
}

function credentials(place: Place, { tokenEndpoint }: Surroundings): Record<string, string> {
  const { row, name, password, clientSecret } = place;
  if (row.authentication === 'BasicAuthentication') {
    return { 'mail.password': fault(place) === 'wrong password' ? secret() : password };
  }
  // an on-premise destination's token service is reached through the Cloud Connector, too
  const { host, port } = VIRTUAL_PROVIDER;
  const tokenServiceURL = row.proxyType === 'OnPremise' ? `http://${host}:${port}/token` : tokenEndpoint;
  return {
    clientId: name,
    clientSecret: fault(place) === 'wrong client secret' ? secret() : clientSecret,
    tokenServiceURL,
    tokenServiceURLType: 'Dedicated',
    scope: 'mail',
  };
}
