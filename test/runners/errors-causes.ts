import type { Protocol } from '../../sidecar-auth/failure.ts';
import { type ErrorWorld, LOCALHOST, ONPREM_PORT, PASSWORD, REPLIES, USER } from './errors-world.ts';

/** A destination file's content, without name and protocol. */
export type Properties = Record<string, string>;

/** What is wrong, as a row of docs/errors.md. */
export interface Cause {
  title: string;
  properties: (world: ErrorWorld, protocol: Protocol) => Properties;
  /** Of the listener. */
  listener?: object;
  /** What the app says, a line after each answer; a silent app's first command by default. */
  says?: (protocol: Protocol) => string[];
  /** The server or we keep the connection open after the error. */
  staysOpen?: true;
}

const FIRST: Record<Protocol, string> = { smtp: 'MAIL FROM:<a@example.org>', imap: '1 SELECT INBOX', pop3: 'STAT' };

export const firstCommand = (protocol: Protocol): string[] => [FIRST[protocol]];

/** Nobody listens at tcpmux. */
const DEAD_PORT = 1;

const plain = (protocol: Protocol, port: number, host = LOCALHOST): Properties => ({
  ProxyType: 'Internet',
  'mail.transport.protocol': protocol,
  [`mail.${protocol}.host`]: host,
  [`mail.${protocol}.port`]: `${port}`,
  [`mail.${protocol}.starttls.enable`]: 'false',
  'mail.user': USER,
  'mail.password': PASSWORD,
});

const tls = (protocol: Protocol, port: number): Properties => ({
  ProxyType: 'Internet',
  'mail.transport.protocol': `${protocol}s`,
  [`mail.${protocol}s.host`]: LOCALHOST,
  [`mail.${protocol}s.port`]: `${port}`,
  'mail.user': USER,
  'mail.password': PASSWORD,
});

const onPremise = (protocol: Protocol, host: string): Properties => {
  const { [`mail.${protocol}.starttls.enable`]: _, ...properties } = plain(protocol, ONPREM_PORT, host);
  return { ...properties, ProxyType: 'OnPremise' };
};

const good: Cause['properties'] = ({ mail }, protocol) => plain(protocol, mail.ports.plain[protocol]);

const APP = { app: { user: 'crm', password: 'key' } };

/** SASL PLAIN (RFC 4616) of the listener's user with another password. */
const WRONG_PLAIN = Buffer.from('\0crm\0wrong').toString('base64');
const WRONG_LOGIN: Record<Protocol, string[]> = {
  smtp: [`AUTH PLAIN ${WRONG_PLAIN}`],
  imap: ['1 LOGIN crm wrong'],
  pop3: ['USER crm', 'PASS wrong'],
};

/** Causes that are there from the start. */
export const CAUSES: Cause[] = [
  { title: 'wrong password', properties: (...at) => ({ ...good(...at), 'mail.password': 'wrong' }) },
  { title: 'unknown user', properties: (...at) => ({ ...good(...at), 'mail.user': 'nobody@mail.example' }) },
  { title: 'connection refused', properties: (_, protocol) => plain(protocol, DEAD_PORT) },
  { title: 'no route: nothing answers for 5 s', properties: ({ full }, protocol) => plain(protocol, full) },
  { title: "the server's name is unknown", properties: (_, protocol) => plain(protocol, 25, 'unknown.invalid') },
  { title: 'certificate for another name', properties: ({ wrongName }, protocol) => tls(protocol, wrongName) },
  { title: 'certificate expired', properties: ({ expired }, protocol) => tls(protocol, expired) },
  { title: 'certificate of an unknown CA', properties: ({ selfSigned }, protocol) => tls(protocol, selfSigned) },
  {
    title: 'TLS is expected, the server speaks plain text',
    properties: ({ mail }, protocol) => tls(protocol, mail.ports.plain[protocol]),
  },
  { title: 'the server closes before its greeting', properties: ({ closes }, protocol) => plain(protocol, closes) },
  {
    title: 'the server resets the connection during the login',
    properties: ({ resets }, protocol) => plain(protocol, resets[protocol]),
  },
  { title: 'the server never says a word', properties: ({ silent }, protocol) => plain(protocol, silent) },
  ...REPLIES.map((code) => ({
    title: `on-premise: SOCKS reply ${code}`,
    properties: (_: ErrorWorld, protocol: Protocol) => onPremise(protocol, `reply${code}.onprem`),
  })),
  {
    title: "the app's login is wrong",
    properties: good,
    listener: APP,
    says: (protocol) => WRONG_LOGIN[protocol],
    staysOpen: true,
  },
  { title: 'the app does not log in where it must', properties: good, listener: APP, staysOpen: true },
];

/** Causes that come while all is well. */
export const LIMIT: Cause = {
  title: "the listener's limit is reached",
  properties: good,
  listener: { maxConnections: 1 },
};
export const DELETED: Cause = { title: 'the destination was deleted', properties: good };
export const HELPER_GONE: Cause = { title: 'sidecar-auth is down', properties: good };
export const RELAY_GONE: Cause = {
  title: 'on-premise: sidecar-auth is down',
  properties: (_, protocol) => onPremise(protocol, `${protocol}.onprem`),
};
export const PROXY_GONE: Cause = { ...RELAY_GONE, title: 'on-premise: the Connectivity Proxy is down' };
export const LATER = [LIMIT, DELETED, HELPER_GONE, RELAY_GONE, PROXY_GONE];
