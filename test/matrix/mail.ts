import { randomBytes } from 'node:crypto';
import { begin, beginWithToken, fetchText, type LoginKind, retrieveOnly, sendMail, tokenLogin } from '../live/apps.ts';
import { deliver, retrieveAll } from '../live/mailbox.ts';
import { Wire } from '../live/wire.ts';
import { codeTerms, type Place } from './place.ts';
import { baseOf, usesTls } from './rows.ts';
import type { Stage } from './stage.ts';

/** A message with octets above 127, dots at the start of lines and no header field: whatever is changed on the way is seen. */
function messageWith(nonce: string): string {
  return `.dot\r\n..dots\r\n\t${'x'.repeat(900)} \r\n\xe4\xff\x80\r\n${nonce}\r\n`;
}

export function newNonce(): string {
  return randomBytes(8).toString('hex');
}

export interface Arrival {
  sent: string;
  arrived: string | undefined;
}

/** A message goes in or is read through Postern. Throws an Error with the answer that was not right. */
export async function mailThrough(stage: Stage, place: Place, nonce: string): Promise<Arrival> {
  const sent = messageWith(nonce);
  const protocol = baseOf(place.row.protocol);
  if (protocol !== 'smtp') await putIntoMailbox(stage, place, sent);
  const token = await tokenFor(stage, place);
  const wire = await Wire.open(place.port);
  try {
    if (token === undefined) await begin(wire, protocol, kindOf(place));
    else await beginWithToken(wire, protocol, place.user, token);
    if (protocol === 'imap') return { sent, arrived: await fetchText(wire) };
    if (protocol === 'pop3') return { sent, arrived: withoutHeader(await retrieveOnly(wire)) };
    await sendMail(wire, kindOf(place), place.user, sent);
  } finally {
    wire.close();
  }
  await stage.postfix.logged(new RegExp(`to=<${place.user}>.*status=sent`));
  const mails = await retrieveAll(stage.dovecot.pop3, place);
  if (mails.length !== 1) throw new Error(`${mails.length} messages are in the mailbox`);
  return { sent, arrived: mails.map(withoutHeader)[0] };
}

export async function putIntoMailbox(stage: Stage, place: Place, text: string): Promise<void> {
  await deliver(stage.postfix, place, `Subject: matrix\r\n\r\n${text}`);
}

function withoutHeader(message: string): string {
  return message.slice(message.indexOf('\r\n\r\n') + 4);
}

/** Both forms of a login of no meaning, in turn. */
function kindOf({ row }: Place): LoginKind {
  if (row.app !== 'redundant') return 'silent';
  return usesTls(row.protocol) || row.proxyType === 'OnPremise' ? 'password' : 'plain';
}

/** A fresh refresh token or authorization code of the place's user; undefined for apps that bring none. */
export async function tokenFor({ provider }: Stage, place: Place): Promise<string | undefined> {
  const { row, name, user } = place;
  if (row.app !== 'token') return undefined;
  if (row.authentication === 'OAuth2RefreshToken') return provider.refreshToken({ client: name, user });
  return provider.authorizationCode(codeTerms(place));
}

const NOBODY = Buffer.from('\0nobody\0nonsense').toString('base64');
const LOGINS = { smtp: `AUTH PLAIN ${NOBODY}`, imap: `1 AUTHENTICATE PLAIN ${NOBODY}`, pop3: `AUTH PLAIN ${NOBODY}` };
const COMMANDS = {
  smtp: ['MAIL FROM:USER', 'RCPT TO:USER', 'DATA', 'NONCE\r\n.'],
  imap: ['2 LIST "" "*"', '3 SELECT INBOX', '5 FETCH 1 BODY[TEXT]'],
  pop3: ['list', 'retr 1'],
};
const END = { smtp: /^\d{3} .*\r\n/m, imap: /^(\d (OK|NO|BAD)|\* BYE).*\r\n/m, pop3: /^(\+OK|-ERR).*\r\n/m };
const BAD = { smtp: /^[45]\d\d .*/m, imap: /^(\d (NO|BAD)|\* BYE).*/m, pop3: /^-ERR.*/m };

/**
 * The same app, where it must not get through; with `token: undefined` one that never logs in. Returns the first answer that is an error (undefined: there
 * was none) and whether the nonce was seen in an answer.
 */
export async function tryInVain(place: Place, token: string | undefined, nonce: string) {
  const protocol = baseOf(place.row.protocol);
  const lines = COMMANDS[protocol].map((line) => line.replace('USER', place.user).replace('NONCE', nonce));
  if (token !== undefined) lines.unshift(tokenLogin(protocol, place.user, token));
  else if (place.row.app === 'redundant') lines.unshift(LOGINS[protocol]);
  const wire = await Wire.open(place.port);
  let seen = '';
  try {
    const greeting = await wire.expect(/^.*\r\n/);
    seen += greeting;
    for (const line of lines) {
      if (BAD[protocol].test(seen)) break;
      seen += await wire.ask(line, END[protocol]);
    }
  } finally {
    wire.close();
  }
  return { error: BAD[protocol].exec(seen)?.[0].trimEnd(), seen: seen.includes(nonce) };
}
