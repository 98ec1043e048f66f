import type { Connection } from './connection.ts';
import { type Dialogue, type Server, splitVerb, utf8 } from './dialogue.ts';
import { authenticate, type SaslFailure } from './sasl.ts';
import type { Mailbox, Message } from './store.ts';

const SASL_REPLIES: Record<SaslFailure, string> = {
  'unknown-mechanism': '-ERR Mechanism not known',
  cancelled: '-ERR Cancelled',
  malformed: '-ERR Not a response of this mechanism',
  rejected: '-ERR [AUTH] Authentication failed',
};

const CAPABILITIES = ['TOP', 'UIDL', 'USER', 'RESP-CODES', 'PIPELINING'];

/** Thrown for a message number that is none; becomes an -ERR. */
class NoSuchMessage extends Error {}

type Commands = Record<string, (argument: string, line: string) => string | Promise<string>>;

/** POP3 (RFC 1939) with CAPA (RFC 2449) and AUTH (RFC 5034). Message numbers stand still for the whole session. */
export class Pop3Dialogue implements Dialogue {
  readonly protocol = 'pop3' as const;
  readonly greeting = '+OK Postern demo\r\n';
  readonly lineTooLong = '-ERR Line too long\r\n';
  ended = false;
  readonly #connection: Connection;
  readonly #server: Server;
  #user: string | undefined;
  #mailbox: Mailbox | undefined;
  #messages: Message[] = [];
  readonly #deleted = new Set<Message>();

  constructor(connection: Connection, server: Server) {
    this.#connection = connection;
    this.#server = server;
  }

  async command(line: string): Promise<string> {
    const { verb, argument } = splitVerb(line);
    const commands = this.#mailbox ? this.#transaction : this.#authorization;
    const run = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
    if (!run) return `-ERR ${Object.hasOwn(this.#transaction, verb) ? 'Log in first' : 'Command not known here'}\r\n`;
    try {
      return `${await run(argument, line)}\r\n`;
    } catch (error) {
      if (error instanceof NoSuchMessage) return '-ERR No such message\r\n';
      throw error;
    }
  }

  readonly #authorization: Commands = {
    CAPA: () => this.#capa(),
    USER: (name) => {
      this.#user = utf8(name);
      return '+OK Password, please';
    },
    PASS: (_, line) => {
      const password = line.slice('PASS '.length); // it may end with spaces
      const user = this.#user;
      this.#user = undefined;
      return user ? this.#pass(user, utf8(password)) : '-ERR USER first';
    },
    AUTH: (argument) => this.#auth(argument),
    NOOP: () => '-ERR Log in first',
    QUIT: () => this.#quit(),
  };

  readonly #transaction: Commands = {
    CAPA: () => this.#capa(),
    STAT: () => `+OK ${this.#left().length} ${octets(this.#left())}`,
    LIST: (argument) => this.#listing(argument, (message) => `${message.content.length}`),
    UIDL: (argument) => this.#listing(argument, (message) => `${this.#mailbox?.uidValidity}.${message.uid}`),
    RETR: (argument) => multiLine('+OK', lines(this.#message(argument).content)),
    TOP: (argument) => this.#top(argument),
    DELE: (argument) => {
      this.#deleted.add(this.#message(argument));
      return '+OK';
    },
    RSET: () => {
      this.#deleted.clear();
      return '+OK';
    },
    NOOP: () => '+OK',
    QUIT: () => this.#quit(),
  };

  #capa(): string {
    return multiLine('+OK', [...CAPABILITIES, `SASL ${this.#server.mechanisms.join(' ')}`]);
  }

  async #auth(argument: string): Promise<string> {
    const { mechanisms } = this.#server;
    if (argument === '') return multiLine('+OK', [...mechanisms]);
    const credentials = await authenticate(this.#connection, argument, {
      mechanisms,
      prefix: '+ ',
      check: ({ user, secret, mechanism }) => this.#check(user, secret, mechanism),
    });
    return typeof credentials === 'string' ? SASL_REPLIES[credentials] : this.#enter(credentials.user);
  }

  async #pass(user: string, password: string): Promise<string> {
    return (await this.#check(user, password, 'USER')) ? this.#enter(user) : SASL_REPLIES.rejected;
  }

  #check(user: string, secret: string, mechanism: string): Promise<boolean> {
    return this.#server.logIn({ protocol: this.protocol, user, mechanism, tls: this.#connection.tls }, secret);
  }

  #enter(user: string): string {
    this.#mailbox = this.#server.store.inbox(user);
    this.#messages = [...this.#mailbox.messages];
    return '+OK Logged in';
  }

  /** RFC 1939 section 6: deletions count only when the client says goodbye. */
  #quit(): string {
    this.ended = true;
    if (this.#deleted.size > 0) this.#mailbox?.remove(this.#deleted);
    return '+OK Bye';
  }

  #left(): Message[] {
    return this.#messages.filter((message) => !this.#deleted.has(message));
  }

  #message(argument: string): Message {
    const message = /^\d{1,9}$/.test(argument) ? this.#messages[Number(argument) - 1] : undefined;
    if (!message || this.#deleted.has(message)) throw new NoSuchMessage();
    return message;
  }

  #listing(argument: string, column: (message: Message) => string): string {
    const row = (message: Message) => `${this.#messages.indexOf(message) + 1} ${column(message)}`;
    if (argument) return `+OK ${row(this.#message(argument))}`;
    return multiLine(`+OK ${this.#left().length} messages`, this.#left().map(row));
  }

  #top(argument: string): string {
    const [number = '', count = ''] = argument.split(/ +/);
    if (!/^\d{1,9}$/.test(count)) return '-ERR TOP message lines';
    const all = lines(this.#message(number).content);
    const blank = all.indexOf('');
    return multiLine('+OK', blank < 0 ? all : all.slice(0, blank + 1 + Number(count)));
  }
}

function octets(messages: Message[]): number {
  return messages.reduce((sum, message) => sum + message.content.length, 0);
}

function lines(content: string): string[] {
  return content.replace(/\r\n$/, '').split('\r\n');
}

/** RFC 1939 section 3: a dot before each line that starts with one, and a dot alone at the end. */
function multiLine(first: string, rest: string[]): string {
  return [first, ...rest.map((line) => (line.startsWith('.') ? `.${line}` : line)), '.'].join('\r\n');
}
