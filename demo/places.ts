import type { Protocol } from '../sidecar-auth/failure.ts';

export type ProxyType = 'Internet' | 'OnPremise';

export const AUTHENTICATIONS = [
  'BasicAuthentication',
  'OAuth2ClientCredentials',
  'OAuth2RefreshToken',
  'OAuth2AuthorizationCode',
] as const;
export type Authentication = (typeof AUTHENTICATIONS)[number];

/** A destination of the demo, and the local address where Postern offers it. */
export interface Place {
  destination: string;
  proxyType: ProxyType;
  /** In SAP's words: `smtp`, `smtps`, `imap4`, ... */
  transport: string;
  protocol: Protocol;
  tls: boolean;
  authentication: Authentication;
  /** The listener's port on 127.0.0.1. */
  port: number;
}

/** What destinations with a password are called; the others have their authentication behind it. */
const KINDS: [name: string, proxyType: ProxyType, transport: string, port: number][] = [
  ['internet-smtp', 'Internet', 'smtp', 1587],
  ['internet-smtps', 'Internet', 'smtps', 1465],
  ['internet-imap', 'Internet', 'imap4', 1143],
  ['internet-imaps', 'Internet', 'imap4s', 1993],
  ['internet-pop3', 'Internet', 'pop3', 1110],
  ['internet-pop3s', 'Internet', 'pop3s', 1995],
  ['onpremise-smtp', 'OnPremise', 'smtp', 2587],
  ['onpremise-imap', 'OnPremise', 'imap4', 2143],
  ['onpremise-pop3', 'OnPremise', 'pop3', 2110],
];

const SUFFIXES: Record<Authentication, string> = {
  BasicAuthentication: '',
  OAuth2ClientCredentials: '-client',
  OAuth2RefreshToken: '-refresh',
  OAuth2AuthorizationCode: '-code',
};

/** The end of a port says the protocol; odd thousands are the Internet, even ones on-premise, two for each authentication. */
export const PLACES: Place[] = KINDS.flatMap(([name, proxyType, transport, port]) =>
  AUTHENTICATIONS.map((authentication, index) => ({
    destination: name + SUFFIXES[authentication],
    proxyType,
    transport,
    protocol: transport.replace(/4?s?$/, '') as Protocol,
    tls: transport.endsWith('s'),
    authentication,
    port: port + 2000 * index,
  })),
);
