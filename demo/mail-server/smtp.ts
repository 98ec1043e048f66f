import type { Connection } from './connection.ts';
import { type Dialogue, type Server, splitVerb } from './dialogue.ts';
import { AUTH_COMMAND_LINE, MESSAGE_LINE, MESSAGE_SIZE, RECIPIENTS } from './limits.ts';
import { authenticate, type SaslFailure } from './sasl.ts';
import type { Mailbox } from './store.ts';

const SASL_REPLIES: Record<SaslFailure, string> = {
  'unknown-mechanism': '504 5.5.4 Mechanism not known',
  cancelled: '501 5.7.0 Cancelled',
  malformed: '501 5.5.2 Not a response of this mechanism',
  rejected: '535 5.7.8 Authentication credentials invalid',
};

/** RFC 5321 section 4.1.2, but the angle brackets may be left out: SAP's documented dialogue is typed without them. */
const PATH = /^(FROM|TO): ?(?:<([^<>\s]*)>|([^<>\s]+))((?: +[^\s]+)*)$/i;
const PARAMETERS = /^(?:SIZE=\d{1,20}|BODY=(?:7BIT|8BITMIME)|AUTH=\S+)$/i;

/** Message submission (RFC 6409) over ESMTP (RFC 5321): nobody sends without a login. */
export class SmtpDialogue implements Dialogue {
  readonly protocol = 'smtp' as const;
  readonly greeting: string;
  readonly lineTooLong = '500 5.5.2 Line too long\r\n';
  ended = false;
  readonly #connection: Connection;
  readonly #server: Server;
  #client: string | undefined;
  #extended = false;
  #user: string | undefined;
  #sender: string | undefined;
  #recipients: string[] = [];

  constructor(connection: Connection, server: Server) {
    this.#connection = connection;
    this.#server = server;
    this.greeting = `220 ${server.name} ESMTP Postern demo\r\n`;
  }

  async command(line: string): Promise<string> {
    const { verb, argument } = splitVerb(line);
    const run = Object.hasOwn(this.#commands, verb) ? this.#commands[verb] : undefined;
    return `${run ? await run(argument, line) : '500 5.5.1 Command not known'}\r\n`;
  }

  readonly #commands: Record<string, (argument: string, line: string) => string | Promise<string>> = {
    EHLO: (client) => this.#hello(client, true),
    HELO: (client) => this.#hello(client, false),
    AUTH: (argument, line) => this.#auth(argument, line),
    MAIL: (argument) => this.#mail(argument),
    RCPT: (argument) => this.#rcpt(argument),
    DATA: () => this.#data(),
    RSET: () => {
      this.#reset();
      return '250 2.0.0 OK';
    },
    NOOP: () => '250 2.0.0 OK',
    VRFY: () => '252 2.1.5 Send some mail and see',
    QUIT: () => {
      this.ended = true;
      return `221 2.0.0 ${this.#server.name} closing connection`;
    },
  };

  #hello(client: string, extended: boolean): string {
    if (!/^[!-~]+$/.test(client)) return '501 5.5.4 A name, please';
    this.#reset();
    this.#client = client;
    this.#extended = extended;
    if (!extended) return `250 ${this.#server.name}`;
    const keywords = ['PIPELINING', `SIZE ${MESSAGE_SIZE}`, '8BITMIME', 'ENHANCEDSTATUSCODES'];
    // RFC 4954 section 4 wants TLS for these; the plain ports stand for networks that others protect.
    if (!this.#user) keywords.push(`AUTH ${this.#server.mechanisms.join(' ')}`);
    const lines = [`${this.#server.name} greets ${client}`, ...keywords];
    return lines.map((line, index) => `250${index < lines.length - 1 ? '-' : ' '}${line}`).join('\r\n');
  }

  async #auth(argument: string, line: string): Promise<string> {
    if (this.#user) return '503 5.5.1 Already authenticated';
    if (!this.#extended) return '503 5.5.1 EHLO first';
    if (line.length + 2 > AUTH_COMMAND_LINE) return '500 5.5.6 AUTH line too long';
    const { mechanisms } = this.#server;
    const credentials = await authenticate(this.#connection, argument, {
      mechanisms,
      prefix: '334 ',
      check: ({ user, mechanism, secret }) =>
        this.#server.logIn({ protocol: this.protocol, user, mechanism, tls: this.#connection.tls }, secret),
    });
    if (typeof credentials === 'string') return SASL_REPLIES[credentials];
    this.#user = credentials.user;
    return '235 2.7.0 Authentication successful';
  }

  #mail(argument: string): string {
    if (!this.#user) return '530 5.7.0 Authentication required';
    if (!this.#client) return '503 5.5.1 EHLO first';
    if (this.#sender !== undefined) return '503 5.5.1 One MAIL at a time';
    const path = parsePath('FROM', argument);
    if (!path) return '501 5.5.4 MAIL FROM:<address>, please';
    const unknown = path.parameters.find((parameter) => !PARAMETERS.test(parameter));
    if (unknown) return '555 5.5.4 Parameter not known';
    const size = path.parameters.find((parameter) => /^SIZE=/i.test(parameter));
    if (size && Number(size.slice(5)) > MESSAGE_SIZE) return '552 5.3.4 Message too big';
    this.#sender = path.address;
    return '250 2.1.0 Sender OK';
  }

  #rcpt(argument: string): string {
    if (!this.#user) return '530 5.7.0 Authentication required';
    if (this.#sender === undefined) return '503 5.5.1 MAIL first';
    const path = parsePath('TO', argument);
    if (!path?.address) return '501 5.5.4 RCPT TO:<address>, please';
    if (path.parameters.length > 0) return '555 5.5.4 Parameter not known';
    if (this.#recipients.length >= RECIPIENTS) return '452 4.5.3 Too many recipients';
    this.#recipients.push(path.address);
    return '250 2.1.5 Recipient OK';
  }

  async #data(): Promise<string> {
    if (!this.#user) return '530 5.7.0 Authentication required';
    if (this.#recipients.length === 0) return '503 5.5.1 RCPT first';
    const end = this.#connection.ending;
    await this.#connection.send('354 End with a line that holds only a dot\r\n');
    const content = await readMessage(this.#connection, end);
    const reply = content === undefined ? '552 5.3.4 Message too big' : this.#deliver(content);
    this.#reset();
    return reply;
  }

  /** One copy for each mailbox, however many recipients lead to it. */
  #deliver(content: string): string {
    const mailboxes = new Set<Mailbox>(this.#recipients.map((address) => this.#server.store.inboxFor(address)));
    for (const mailbox of mailboxes) if (mailbox.full) return '452 4.2.2 Mailbox full';
    for (const mailbox of mailboxes) mailbox.add(this.#trace() + withHeader(content));
    return '250 2.0.0 Delivered';
  }

  /** RFC 5321 section 4.4. */
  #trace(): string {
    const how = `${this.#extended ? 'E' : ''}SMTP${this.#connection.tls ? 'S' : ''}A`;
    return [
      `Return-Path: <${this.#sender}>`,
      `Received: from ${this.#client} ([${this.#connection.peer}])`,
      ` by ${this.#server.name} with ${how}; ${new Date().toUTCString().replace('GMT', '+0000')}`,
      '',
    ].join('\r\n');
  }

  #reset(): void {
    this.#sender = undefined;
    this.#recipients = [];
  }
}

function parsePath(keyword: string, argument: string): { address: string; parameters: string[] } | undefined {
  const match = PATH.exec(argument);
  if (match?.[1]?.toUpperCase() !== keyword) return undefined;
  return { address: match[2] ?? match[3] ?? '', parameters: (match[4] ?? '').split(' ').filter(Boolean) };
}

/**
 * The message up to its dot (RFC 5321 section 4.5.2), or undefined if it is too big. Lines end as the DATA line did: where that was
 * CRLF nothing but CRLF.CRLF ends the message (no SMTP smuggling).
 */
async function readMessage(connection: Connection, end: '\r\n' | '\n'): Promise<string | undefined> {
  const lines: string[] = [];
  let size = 0;
  for (;;) {
    const line = await connection.line(MESSAGE_LINE, end);
    if (line.text === '.') break;
    const text = line.text.startsWith('.') ? line.text.slice(1) : line.text;
    size += line.tooLong ? MESSAGE_SIZE + 1 : text.length + 2;
    if (size <= MESSAGE_SIZE) lines.push(text, '\r\n');
  }
  return size <= MESSAGE_SIZE ? lines.join('') : undefined;
}

/** Text that starts without header fields is all body, as Postfix sees it too. */
function withHeader(content: string): string {
  return /^(?:[!-9;-~]+[ \t]*:|\r\n)/.test(content) ? content : `\r\n${content}`;
}
