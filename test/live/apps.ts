import type { Protocol } from '../../sidecar-auth/failure.ts';
import { asData, retrieve } from './mailbox.ts';
import type { Wire } from './wire.ts';

/**
 * How the app begins: `silent` as in SAP's documentation, with no login and not even EHLO; or with a login of no meaning, as
 * mail libraries do: `plain` is SASL PLAIN, `password` is AUTH LOGIN (SMTP), LOGIN (IMAP) or USER and PASS (POP3).
 */
export type LoginKind = 'silent' | 'plain' | 'password';

/** XOAUTH2 as SAP's documentation types it: in one line, however long that gets. */
export function tokenLogin(protocol: Protocol, user: string, token: string): string {
  const verb = { smtp: 'AUTH', imap: '1 AUTHENTICATE', pop3: 'AUTH' }[protocol];
  return `${verb} XOAUTH2 ${base64(`user=${user}\x01auth=Bearer ${token}\x01\x01`)}`;
}

const TOKEN_ACCEPTED: Record<Protocol, string> = { smtp: '235 ', imap: '1 OK', pop3: '+OK' };

/** Reads the greeting and logs in with a token. Throws an Error with the answer that was not right. */
export async function beginWithToken(wire: Wire, protocol: Protocol, user: string, token: string): Promise<void> {
  await demand(wire, undefined, GREETINGS[protocol]);
  const answer = await wire.ask(tokenLogin(protocol, user, token), /\r\n/);
  if (!answer.startsWith(TOKEN_ACCEPTED[protocol])) throw new Error(`the login with a token: ${answer.trim()}`);
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const PLAIN = base64('\0nobody\0nonsense');

/** Asks for one line and demands that it starts as it should. Throws an Error with the line. */
async function demand(wire: Wire, line: string | undefined, start: string): Promise<string> {
  const answer = line === undefined ? await wire.expect(/\r\n/) : await wire.ask(line, /\r\n/);
  if (!answer.startsWith(start)) throw new Error(`${line ?? 'the greeting'}: ${answer.trim()}`);
  return answer;
}

/** The same for IMAP: the tagged response must be OK, untagged ones may come before it. */
async function demandTagged(wire: Wire, line: string): Promise<void> {
  const answer = await wire.ask(line, /^1 .*\r\n/m);
  if (!/^1 OK /m.test(answer)) throw new Error(`${line}: ${answer.trim()}`);
}

/** The redundant logins. Each must be answered with success. */
const LOGINS: Record<Protocol, Record<'plain' | 'password', (wire: Wire) => Promise<unknown>>> = {
  smtp: {
    plain: (wire) => demand(wire, `AUTH PLAIN ${PLAIN}`, '235 '),
    password: async (wire) => {
      await demand(wire, 'AUTH LOGIN', '334 ');
      await demand(wire, base64('nobody'), '334 ');
      await demand(wire, base64('nonsense'), '235 ');
    },
  },
  imap: {
    plain: (wire) => demandTagged(wire, `1 AUTHENTICATE PLAIN ${PLAIN}`),
    password: (wire) => demandTagged(wire, '1 LOGIN nobody "non sense"'),
  },
  pop3: {
    plain: (wire) => demand(wire, `AUTH PLAIN ${PLAIN}`, '+OK'),
    password: async (wire) => {
      await demand(wire, 'USER nobody', '+OK');
      await demand(wire, 'PASS nonsense', '+OK');
    },
  },
};

const GREETINGS: Record<Protocol, string> = { smtp: '220 ', imap: '* OK', pop3: '+OK' };

/** What a server's capabilities must not show to an app, and what they must (only asked where the app logs in). */
const CAPABILITIES: Record<Protocol, { command: string; end: RegExp; never: RegExp; always: RegExp }> = {
  smtp: { command: 'EHLO app', end: /^250 .*\r\n/m, never: /STARTTLS/i, always: /^250[- ]AUTH .*PLAIN/m },
  imap: { command: '0 CAPABILITY', end: /^0 OK.*\r\n/m, never: /STARTTLS|LOGINDISABLED/i, always: / AUTH=PLAIN/ },
  pop3: { command: 'CAPA', end: /\r\n\.\r\n/, never: /STLS/i, always: /^SASL .*PLAIN/m },
};

/** Reads the greeting and, where the kind says so, logs in as nobody. Throws an Error with the answer that was not right. */
export async function begin(wire: Wire, protocol: Protocol, kind: LoginKind): Promise<void> {
  await demand(wire, undefined, GREETINGS[protocol]);
  if (kind === 'silent') return;
  const { command, end, never, always } = CAPABILITIES[protocol];
  const capabilities = await wire.ask(command, end);
  if (never.test(capabilities) || !always.test(capabilities)) throw new Error(`${command}: ${capabilities}`);
  await LOGINS[protocol][kind](wire);
}

/** SAP's SMTP dialogue: no brackets, no QUIT; with EHLO (where the app logs in) as RFC 5321 has it. */
export async function sendMail(wire: Wire, kind: LoginKind, address: string, message: string): Promise<void> {
  const path = kind === 'silent' ? address : `<${address}>`;
  await demand(wire, `MAIL FROM:${path}`, '250 ');
  await demand(wire, `RCPT TO:${path}`, '250 ');
  await demand(wire, 'DATA', '354 ');
  wire.send(asData(message));
  await demand(wire, undefined, '250 ');
}

/** SAP's IMAP dialogue; returns the only message's text, without its header. */
export async function fetchText(wire: Wire): Promise<string> {
  await wire.ask('2 LIST "" "*"', /^\* LIST .* "?INBOX"?\r\n[\s\S]*^2 OK.*\r\n/m);
  await wire.ask('3 SELECT INBOX', /^\* 1 EXISTS\r\n[\s\S]*^3 OK.*\r\n/m);
  const size = await wire.ask('5 FETCH 1 BODY[TEXT]', /^\* 1 FETCH \(.*BODY\[TEXT\] \{(\d+)\}\r\n/m);
  const [, length] = /\{(\d+)\}\r\n$/.exec(size) ?? [];
  const text = await wire.expect(new RegExp(`^[\\s\\S]{${length}}`));
  await wire.expect(/^.*\)\r\n5 OK.*\r\n/); // with FLAGS where reading it has set \Seen
  return text;
}

/** SAP's POP3 dialogue, lower-case verbs; returns the only message. */
export async function retrieveOnly(wire: Wire): Promise<string> {
  await demand(wire, 'list', '+OK 1 ');
  await wire.expect(/^1 \d+\r\n\.\r\n/);
  const message = await retrieve(wire, 'retr 1');
  await demand(wire, 'quit', '+OK');
  return message;
}
