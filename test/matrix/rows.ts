import type { Protocol } from '../../sidecar-auth/failure.ts';

export type ProxyType = 'OnPremise' | 'Internet';
/** The last letter says TLS from the first byte. */
export type MailProtocol = Protocol | `${Protocol}s`;
export type Authentication =
  | 'BasicAuthentication'
  | 'OAuth2ClientCredentials'
  | 'OAuth2RefreshToken'
  | 'OAuth2AuthorizationCode';
/** `silent`: never logs in; `redundant`: logs in as nobody; `token`: brings a refresh token or an authorization code. */
export type App = 'silent' | 'redundant' | 'token';

/** What is wrong with the twin of a row: the way there is the same, and nothing may be delivered. */
export type Fault = 'wrong password' | 'wrong audience' | 'wrong client secret' | 'wrong tenant';

export interface Row {
  /** Name of the destination, and of the account at example.test. */
  name: string;
  proxyType: ProxyType;
  protocol: MailProtocol;
  authentication: Authentication;
  app: App;
  /** What the destination says beyond its protocol's default; only in the rows that `--all` adds. */
  variant?: 'plain' | 'tls' | 'starttls' | 'file' | 'oauthbearer';
  fault: Fault;
}

const PROTOCOLS: Protocol[] = ['smtp', 'pop3', 'imap'];
const ON_PREMISE: MailProtocol[] = PROTOCOLS;
const INTERNET: MailProtocol[] = [...PROTOCOLS, 'smtps', 'pop3s', 'imaps'];

const APPS: Record<Authentication, App[]> = {
  BasicAuthentication: ['silent', 'redundant'],
  OAuth2ClientCredentials: ['silent', 'redundant'],
  OAuth2RefreshToken: ['token'],
  OAuth2AuthorizationCode: ['token'],
};
const AUTHENTICATIONS = Object.keys(APPS) as Authentication[];

/** 36 cells in 54 rows: every destination with the default settings of its kind. */
export const ROWS: Row[] = [
  ...ON_PREMISE.flatMap((protocol) => rowsOf('OnPremise', protocol)),
  ...INTERNET.flatMap((protocol) => rowsOf('Internet', protocol)),
];

/**
 * What `--all` adds: each authentication once, in plain text, with TLS through the tunnel, and from files; and servers that take tokens by
 * OAUTHBEARER only.
 */
export const MORE_ROWS: Row[] = [
  ...AUTHENTICATIONS.flatMap((authentication) => {
    const [app = 'silent'] = APPS[authentication];
    return PROTOCOLS.flatMap((protocol) => [
      row('Internet', protocol, authentication, app, 'plain'),
      row('OnPremise', `${protocol}s`, authentication, app, 'tls'),
      row('OnPremise', protocol, authentication, app, 'starttls'),
      row('Internet', protocol, authentication, app, 'file'),
    ]);
  }),
  ...PROTOCOLS.map((protocol) => row('OnPremise', protocol, 'OAuth2ClientCredentials', 'silent', 'oauthbearer')),
];

function rowsOf(proxyType: ProxyType, protocol: MailProtocol): Row[] {
  return AUTHENTICATIONS.flatMap((authentication) =>
    APPS[authentication].map((app) => row(proxyType, protocol, authentication, app)),
  );
}

function row(
  proxyType: ProxyType,
  protocol: MailProtocol,
  authentication: Authentication,
  app: App,
  variant?: Row['variant'],
): Row {
  const kind = authentication.replace(/^OAuth2|Authentication$/g, '');
  const name = [proxyType, protocol, kind, app, variant].filter(Boolean).join('-').toLowerCase();
  const plain = { name, proxyType, protocol, authentication, app, ...(variant && { variant }) };
  return { ...plain, fault: faultOf(plain) };
}

/** Faults in turn, so that each authentication meets each that it can have. */
function faultOf({ proxyType, protocol, authentication, app, variant }: Omit<Row, 'fault'>): Fault {
  const first = app === 'silent' || authentication === 'OAuth2AuthorizationCode';
  if (proxyType === 'OnPremise' && first && variant === undefined) return 'wrong tenant';
  if (authentication === 'BasicAuthentication') return 'wrong password';
  // A code that was redeemed is spent: after the server's refusal there is no other token to try, and that is what the app hears.
  if (proxyType === 'OnPremise' && authentication === 'OAuth2AuthorizationCode') return 'wrong client secret';
  if (proxyType === 'OnPremise' || app === 'silent') return 'wrong audience';
  return app === 'redundant' || usesTls(protocol) ? 'wrong client secret' : 'wrong audience';
}

/** TLS from the first byte. */
export function usesTls(protocol: MailProtocol): boolean {
  return protocol.endsWith('s');
}

export function baseOf(protocol: MailProtocol): Protocol {
  return protocol.replace(/s$/, '') as Protocol;
}

/** Whether the mail server sees TLS, from the first byte or after STARTTLS: the default on the Internet. */
export function isProtected({ proxyType, protocol, variant }: Row): boolean {
  if (usesTls(protocol) || variant === 'starttls') return true;
  return proxyType === 'Internet' && variant !== 'plain';
}

/** Envoy's cluster that must have carried it: what Envoy can't do itself (SOCKS5, STARTTLS) goes by the relay. */
export function clusterOf(row: Row): string {
  if (row.proxyType === 'OnPremise') return 'postern-relay';
  if (usesTls(row.protocol)) return 'postern-direct-tls';
  return isProtected(row) ? 'postern-relay' : 'postern-direct';
}

const GRANTS: Record<Authentication, string | undefined> = {
  BasicAuthentication: undefined,
  OAuth2ClientCredentials: 'client_credentials',
  OAuth2RefreshToken: 'refresh_token',
  OAuth2AuthorizationCode: 'authorization_code',
};

/** SASL mechanism by which the server must have been entered. */
export function mechanismOf(row: Row): string {
  if (!grantOf(row)) return 'PLAIN';
  return row.variant === 'oauthbearer' ? 'OAUTHBEARER' : 'XOAUTH2';
}

/** RFC 6749 `grant_type` by which the access token must have been issued; undefined for passwords. */
export function grantOf({ authentication }: Row): string | undefined {
  return GRANTS[authentication];
}
