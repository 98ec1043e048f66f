import { createTransport } from 'nodemailer';
import type { Postfix } from './postfix.ts';
import { Wire } from './wire.ts';

export interface Account {
  user: string;
  password: string;
}

/** Implicit TLS: the CA (PEM), and the name that the certificate must be valid for. */
export interface Tls {
  ca: string;
  name: string;
}

/**
 * Sends a message to its sender through Postfix itself, and resolves when it is in the mailbox.
 * Throws nodemailer's error, with `responseCode`, where Postfix refuses.
 */
export async function deliver(
  postfix: Postfix,
  { user, password }: Account,
  raw: string,
  { method = 'LOGIN', tls }: { method?: string; tls?: Tls } = {},
): Promise<void> {
  const transport = createTransport({
    host: '127.0.0.1',
    port: tls ? postfix.smtps : postfix.submission,
    secure: tls !== undefined,
    ignoreTLS: true,
    authMethod: method,
    auth: { user, pass: password },
    ...(tls && { tls: { ca: tls.ca, servername: tls.name } }),
  });
  const { response } = await transport.sendMail({
    envelope: { from: user, to: [user] },
    raw: Buffer.from(raw, 'latin1'),
  });
  const [, queueId] = /queued as (\w+)/.exec(response) ?? [];
  await postfix.logged(new RegExp(` ${queueId}: .*status=sent`));
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** All messages of a mailbox, read from Dovecot itself by POP3. Throws an Error with the server's answer. */
export async function retrieveAll(port: number, { user, password }: Account, tls?: Tls): Promise<string[]> {
  const wire = await Wire.open(port, tls);
  try {
    await wire.expect(/\r\n/);
    // works on servers that know LOGIN only, too
    await wire.ask('AUTH LOGIN', /\r\n/);
    await wire.ask(base64(user), /\r\n/);
    const answer = await wire.ask(base64(password), /\r\n/);
    if (!answer.startsWith('+OK')) throw new Error(answer);
    const count = Number((await wire.ask('STAT', /\r\n/)).split(' ')[1]);
    const messages: string[] = [];
    for (let number = 1; number <= count; number++) messages.push(await retrieve(wire, `RETR ${number}`));
    return messages;
  } finally {
    wire.close();
  }
}

/** One message, as RETR answers it: without the status line, the end and the doubled dots (RFC 1939 section 3). */
export async function retrieve(wire: Wire, command: string): Promise<string> {
  const status = await wire.ask(command, /\r\n/);
  if (!status.startsWith('+OK')) throw new Error(status);
  const text = await wire.expect(/\r\n\.\r\n/);
  return text.slice(0, -3).replaceAll(/^\./gm, '');
}

/** A message as DATA sends it: dots at the start of a line doubled, and the end (RFC 5321 section 4.5.2). */
export function asData(message: string): string {
  return `${message.replaceAll(/^\./gm, '..')}.\r\n`;
}
