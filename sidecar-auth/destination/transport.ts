import type { Protocol } from '../failure.ts';

/** What `mail.transport.protocol` may say. imap4 and imap4s are SAP's names, imap and imaps those of Jakarta Mail. */
export interface Transport {
  protocol: Protocol;
  /** Implicit TLS (RFC 8314 section 3). */
  tls: boolean;
  port: number;
  /** The `<proto>` of its property keys, in the order in which they are looked for. */
  names: readonly string[];
}

const TRANSPORTS: Record<string, Transport> = {
  smtp: { protocol: 'smtp', tls: false, port: 587, names: ['smtp'] },
  smtps: { protocol: 'smtp', tls: true, port: 465, names: ['smtps'] },
  pop3: { protocol: 'pop3', tls: false, port: 110, names: ['pop3'] },
  pop3s: { protocol: 'pop3', tls: true, port: 995, names: ['pop3s'] },
  imap: { protocol: 'imap', tls: false, port: 143, names: ['imap', 'imap4'] },
  imaps: { protocol: 'imap', tls: true, port: 993, names: ['imaps', 'imap4s'] },
};

export const TRANSPORT_NAMES = [...Object.keys(TRANSPORTS), 'imap4', 'imap4s'] as const;

export function transportOf(name: string): Transport | undefined {
  return TRANSPORTS[name.replace(/^imap4/, 'imap')];
}

/**
 * What a destination with an unknown protocol may mean: the only protocol for which it names a host. So the mistakes in its other
 * properties are told at once, too.
 */
export function guessTransport(keys: readonly string[]): Transport | undefined {
  const named = Object.values(TRANSPORTS).filter(({ names }) =>
    names.some((name) => keys.includes(`mail.${name}.host`)),
  );
  return named.length === 1 ? named[0] : undefined;
}

const GENERAL = [
  'mail.user',
  'mail.password',
  'mail.passwordFile',
  'mail.transport.protocol',
  // SAP's cockpit writes it into every MAIL destination.
  'mail.description',
];

/** Postern's own, after `mail.<proto>.`. */
const OWN = ['capabilities', 'preconnect'];

/** Jakarta Mail's names, and ours, after `mail.<proto>.`. */
const OF_PROTOCOL = [
  'host',
  'port',
  'auth',
  'auth.mechanisms',
  'starttls.enable',
  'starttls.required',
  'ssl.trust',
  'localhost',
  'connectiontimeout',
  'timeout',
  ...OWN,
];

/** The same for people: 97 names would hide the one that is looked for. */
export const MAIL_KEYS_SHORT = `${GENERAL.join(', ')}, and mail.<protocol>. followed by ${OF_PROTOCOL.join(', ')}`;

/** Every `mail.` key that is understood, for any protocol: a destination may carry the keys of several. */
export const MAIL_KEYS = [
  ...GENERAL,
  ...TRANSPORT_NAMES.flatMap((name) => OF_PROTOCOL.map((key) => `mail.${name}.${key}`)),
];
