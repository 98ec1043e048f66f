import type { Connection } from './connection.ts';
import { type Dialogue, type Server, utf8 } from './dialogue.ts';
import { list, parseArguments, parseSet, SyntaxFault, text, type Value } from './imap/arguments.ts';
import { fetchData, fetchItems, flagList, marksSeen } from './imap/fetch.ts';
import { type Candidate, parseSearch } from './imap/search.ts';
import { COMMAND_LINE, FLAGS, LITERAL, LITERALS, MESSAGE_SIZE } from './limits.ts';
import { authenticate, type SaslFailure } from './sasl.ts';
import type { Mailbox, Message } from './store.ts';

const BASIC = 'IMAP4rev1 LITERAL+ ID IDLE ENABLE NAMESPACE UNSELECT';
const SYSTEM_FLAGS = ['\\Answered', '\\Flagged', '\\Deleted', '\\Seen', '\\Draft'];
const SELECTED_FLAGS = `* FLAGS (${SYSTEM_FLAGS.join(' ')})\r\n* OK [PERMANENTFLAGS (${SYSTEM_FLAGS.join(' ')} \\*)] Flags\r\n`;

const SASL_REPLIES: Record<SaslFailure, Refusal> = {
  'unknown-mechanism': { status: 'NO', text: '[CANNOT] Mechanism not known' },
  cancelled: { status: 'BAD', text: 'Cancelled' },
  malformed: { status: 'BAD', text: 'Not a response of this mechanism' },
  rejected: { status: 'NO', text: '[AUTHENTICATIONFAILED] Authentication failed' },
};

interface Refusal {
  status: 'NO' | 'BAD';
  text: string;
}

/** Thrown by a command that was understood and can't be done. */
class Refused extends Error {
  readonly refusal: Refusal;
  constructor(status: 'NO' | 'BAD', words: string) {
    super(words);
    this.refusal = { status, text: words };
  }
}

/** The least state (RFC 9051 section 3) that a command needs. */
type State = 'any' | 'authenticated' | 'selected';

interface Command {
  state: State;
  /** Untagged responses, and the text of the tagged OK if it is not the usual one. */
  run(values: Value[], tail: string): Outcome | Promise<Outcome>;
  /** The arguments are not IMAP's usual ones: `tail` is all that there is. */
  raw?: boolean;
}

interface Outcome {
  untagged?: string;
  ok?: string;
}

/** IMAP4rev1 (RFC 3501; section numbers here are those of RFC 9051) with the extensions that it lists. */
export class ImapDialogue implements Dialogue {
  readonly protocol = 'imap' as const;
  readonly greeting: string;
  readonly lineTooLong = '* BAD Line too long\r\n';
  ended = false;
  readonly #connection: Connection;
  readonly #server: Server;
  #user: string | undefined;
  #selected: Mailbox | undefined;
  #readOnly = false;
  /** The selected mailbox as this client knows it: sequence numbers change only where `#changes` says so. */
  #view: Message[] = [];

  constructor(connection: Connection, server: Server) {
    this.#connection = connection;
    this.#server = server;
    this.greeting = `* OK [CAPABILITY ${this.#capabilities()}] Postern demo\r\n`;
  }

  async command(firstLine: string): Promise<string> {
    const match = /^([!#$&',-[\]-z|-~]{1,64}) ((?:UID )?[A-Za-z]+)(?: |$)/i.exec(firstLine);
    if (!match) return '* BAD Not a command\r\n';
    const [start, tag, name] = [match[0], match[1] as string, (match[2] as string).toUpperCase()];
    const complete = await this.#readLiterals(firstLine, tag, name);
    if (complete.refused !== undefined) return complete.refused;
    return this.#answer(tag, name, complete.command.slice(start.length));
  }

  async #answer(tag: string, name: string, tail: string): Promise<string> {
    try {
      const command = Object.hasOwn(this.#commands, name) ? this.#commands[name] : undefined;
      if (!command) throw new Refused('BAD', 'Command not known');
      this.#demand(command.state);
      const { untagged = '', ok = `${name} completed` } = await command.run(
        command.raw ? [] : parseArguments(tail),
        tail,
      );
      return `${untagged}${tag} OK ${ok}\r\n`;
    } catch (error) {
      if (error instanceof SyntaxFault) return `${tag} BAD ${error.message}\r\n`;
      if (error instanceof Refused) return `${tag} ${error.refusal.status} ${error.refusal.text}\r\n`;
      throw error;
    }
  }

  #demand(state: State): void {
    if (state !== 'any' && !this.#user) throw new Refused('BAD', 'Log in first');
    if (state === 'selected' && !this.#selected) throw new Refused('BAD', 'Select a mailbox first');
  }

  /** The whole command, literals in place (RFC 9051 section 4.3, LITERAL+ of RFC 7888), or why there is none. */
  async #readLiterals(
    firstLine: string,
    tag: string,
    name: string,
  ): Promise<{ command: string; refused?: undefined } | { refused: string }> {
    const limit = this.#user && name === 'APPEND' ? MESSAGE_SIZE : LITERAL;
    let command = firstLine;
    let line = firstLine;
    for (let count = 0; ; count++) {
      const match = /\{(\d{1,9})(\+?)\}$/.exec(line);
      if (!match) return { command };
      if (Number(match[1]) > limit || count >= LITERALS) return { refused: this.#tooBig(tag, match[2] === '+') };
      if (match[2] === '') await this.#connection.send('+ Go ahead\r\n');
      const octets = await this.#connection.octets(Number(match[1]));
      const next = await this.#connection.line(COMMAND_LINE.imap);
      if (next.tooLong) return { refused: `${tag} BAD Line too long\r\n` };
      line = next.text;
      command += `\r\n${octets}${line}`;
    }
  }

  /** A literal that comes without being asked for can't be refused any other way. */
  #tooBig(tag: string, comesAnyway: boolean): string {
    this.ended = comesAnyway;
    return comesAnyway ? '* BYE [TOOBIG] Literal too big\r\n' : `${tag} NO [TOOBIG] Literal too big\r\n`;
  }

  readonly #commands: Record<string, Command> = {
    CAPABILITY: { state: 'any', run: () => ({ untagged: `* CAPABILITY ${this.#capabilities()}\r\n` }) },
    NOOP: { state: 'any', run: () => ({ untagged: this.#changes() }) },
    ID: { state: 'any', run: () => ({ untagged: '* ID ("name" "Postern demo")\r\n' }) },
    LOGOUT: {
      state: 'any',
      run: () => {
        this.ended = true;
        return { untagged: '* BYE See you\r\n' };
      },
    },
    LOGIN: {
      state: 'any',
      run: ([user, password]) => this.#logIn(utf8(text(user)), utf8(text(password))),
    },
    AUTHENTICATE: { state: 'any', raw: true, run: (_, tail) => this.#authenticate(tail) },
    ENABLE: { state: 'authenticated', run: () => ({ untagged: '* ENABLED\r\n' }) },
    NAMESPACE: { state: 'authenticated', run: () => ({ untagged: '* NAMESPACE (("" "/")) NIL NIL\r\n' }) },
    LIST: { state: 'authenticated', run: (values) => this.#list('LIST', values) },
    LSUB: { state: 'authenticated', run: (values) => this.#list('LSUB', values) },
    STATUS: { state: 'authenticated', run: ([name, items]) => this.#status(text(name), list(items)) },
    SELECT: { state: 'authenticated', run: ([name]) => this.#select(text(name), false) },
    EXAMINE: { state: 'authenticated', run: ([name]) => this.#select(text(name), true) },
    APPEND: { state: 'authenticated', run: (values) => this.#append(values) },
    IDLE: { state: 'authenticated', run: () => this.#idle() },
    FETCH: { state: 'selected', run: ([set, items]) => this.#fetch(this.#bySequence(set), fetchItems(items), false) },
    'UID FETCH': { state: 'selected', run: ([set, items]) => this.#fetch(this.#byUid(set), fetchItems(items), true) },
    STORE: { state: 'selected', run: ([set, ...rest]) => this.#store(this.#bySequence(set), rest, false) },
    'UID STORE': { state: 'selected', run: ([set, ...rest]) => this.#store(this.#byUid(set), rest, true) },
    SEARCH: { state: 'selected', run: (keys) => this.#search(keys, ({ sequence }) => sequence) },
    'UID SEARCH': { state: 'selected', run: (keys) => this.#search(keys, ({ message }) => message.uid) },
    CHECK: { state: 'selected', run: () => ({ untagged: this.#changes() }) },
    EXPUNGE: {
      state: 'selected',
      run: () => {
        this.#writable();
        this.#expunge();
        return { untagged: this.#changes() };
      },
    },
    CLOSE: {
      state: 'selected',
      run: () => {
        if (!this.#readOnly) this.#expunge();
        return this.#unselect();
      },
    },
    UNSELECT: { state: 'selected', run: () => this.#unselect() },
  };

  #capabilities(): string {
    if (this.#user) return BASIC;
    return `${BASIC} SASL-IR ${this.#server.mechanisms.map((name) => `AUTH=${name}`).join(' ')}`;
  }

  async #authenticate(tail: string): Promise<Outcome> {
    const credentials = await authenticate(this.#connection, tail, {
      mechanisms: this.#server.mechanisms,
      prefix: '+ ',
      check: ({ mechanism, user, secret }) => this.#check(mechanism, user, secret),
    });
    if (typeof credentials !== 'string') return this.#enter(credentials.user);
    const { status, text: words } = SASL_REPLIES[credentials];
    throw new Refused(status, words);
  }

  async #logIn(user: string, password: string): Promise<Outcome> {
    if (await this.#check('LOGIN', user, password)) return this.#enter(user);
    const { status, text: words } = SASL_REPLIES.rejected;
    throw new Refused(status, words);
  }

  #check(mechanism: string, user: string, secret: string): Promise<boolean> {
    if (this.#user) throw new Refused('BAD', 'Already logged in');
    return this.#server.logIn({ protocol: this.protocol, user, mechanism, tls: this.#connection.tls }, secret);
  }

  #enter(user: string): Outcome {
    this.#user = user;
    return { ok: `[CAPABILITY ${BASIC}] Logged in` };
  }

  /** RFC 9051 section 6.3.9; an empty pattern asks for the separator. */
  #list(name: string, [reference, pattern]: Value[]): Outcome {
    if (text(pattern) === '') return { untagged: `* ${name} (\\Noselect) "/" ""\r\n` };
    const wanted = patternOf(text(reference) + text(pattern));
    const found = this.#mailboxes().filter((mailbox) => wanted.test(mailbox.name));
    return { untagged: found.map((mailbox) => `* ${name} (\\HasNoChildren) "/" "${mailbox.name}"\r\n`).join('') };
  }

  #mailboxes(): Mailbox[] {
    return this.#server.store.mailboxes(this.#user as string);
  }

  #mailbox(name: string, code = 'NONEXISTENT'): Mailbox {
    const mailbox = this.#server.store.mailbox(this.#user as string, name);
    if (!mailbox) throw new Refused('NO', `[${code}] No such mailbox`);
    return mailbox;
  }

  #status(name: string, items: string[]): Outcome {
    const mailbox = this.#mailbox(name);
    const numbers: Record<string, number> = {
      MESSAGES: mailbox.messages.length,
      RECENT: 0,
      UIDNEXT: mailbox.uidNext,
      UIDVALIDITY: mailbox.uidValidity,
      UNSEEN: mailbox.messages.filter((message) => !message.flags.has('\\Seen')).length,
    };
    const pairs = items.map((item) => {
      const number = numbers[item.toUpperCase()];
      if (number === undefined) throw new SyntaxFault('Status item not known');
      return `${item.toUpperCase()} ${number}`;
    });
    return { untagged: `* STATUS "${mailbox.name}" (${pairs.join(' ')})\r\n` };
  }

  #select(name: string, readOnly: boolean): Outcome {
    this.#unselect();
    const mailbox = this.#mailbox(name);
    this.#selected = mailbox;
    this.#readOnly = readOnly;
    this.#view = [...mailbox.messages];
    const unseen = this.#view.findIndex((message) => !message.flags.has('\\Seen'));
    const untagged = [
      `* ${this.#view.length} EXISTS`,
      '* 0 RECENT',
      ...(unseen < 0 ? [] : [`* OK [UNSEEN ${unseen + 1}] First unseen`]),
      `* OK [UIDVALIDITY ${mailbox.uidValidity}] UIDs valid`,
      `* OK [UIDNEXT ${mailbox.uidNext}] Next UID`,
      '',
    ].join('\r\n');
    return { untagged: SELECTED_FLAGS + untagged, ok: readOnly ? '[READ-ONLY] Opened' : '[READ-WRITE] Opened' };
  }

  #unselect(): Outcome {
    this.#selected = undefined;
    this.#view = [];
    return {};
  }

  /** `APPEND mailbox [(flags)] ["date"] message`; the date is not kept. */
  #append(values: Value[]): Outcome {
    const mailbox = this.#mailbox(text(values[0]), 'TRYCREATE');
    if (mailbox.full) throw new Refused('NO', '[OVERQUOTA] Mailbox full');
    const flags = Array.isArray(values[1]) ? checkedFlags(values[1]) : [];
    if (values.length < 2) throw new SyntaxFault('A message is missing');
    mailbox.add(text(values.at(-1)), flags);
    return { untagged: this.#changes() };
  }

  /** RFC 2177: news until the client says DONE. */
  async #idle(): Promise<Outcome> {
    const mailbox = this.#selected;
    const tell = () => void this.#connection.send(this.#changes()).catch(() => {});
    await this.#connection.send(`+ idling\r\n${this.#changes()}`);
    mailbox?.on('change', tell);
    try {
      const line = await this.#connection.line(COMMAND_LINE.imap);
      if (line.text.toUpperCase() !== 'DONE') throw new SyntaxFault('DONE, please');
      return { ok: 'IDLE completed' };
    } finally {
      mailbox?.off('change', tell);
    }
  }

  #candidates(): Candidate[] {
    return this.#view.map((message, index) => ({ message, sequence: index + 1 }));
  }

  #bySequence(set: Value | undefined): Candidate[] {
    const inSet = parseSet(text(set), this.#view.length);
    return this.#candidates().filter(({ sequence }) => inSet(sequence));
  }

  #byUid(set: Value | undefined): Candidate[] {
    const inSet = parseSet(text(set), this.#view.at(-1)?.uid ?? 0);
    return this.#candidates().filter(({ message }) => inSet(message.uid));
  }

  /** Message by message, so that a big mailbox does not stand in memory twice. */
  async #fetch(candidates: Candidate[], items: string[], byUid: boolean): Promise<Outcome> {
    const wanted = byUid && !items.includes('UID') ? ['UID', ...items] : items;
    for (const { message, sequence } of candidates) {
      const newlySeen = marksSeen(items) && !this.#readOnly && !message.flags.has('\\Seen');
      if (newlySeen) message.flags.add('\\Seen');
      const all = newlySeen && !wanted.includes('FLAGS') ? [...wanted, 'FLAGS'] : wanted;
      await this.#connection.send(`* ${sequence} FETCH (${fetchData(message, all)})\r\n`);
    }
    return {};
  }

  /** RFC 9051 section 6.4.6: FLAGS, +FLAGS, -FLAGS, each with .SILENT. */
  #store(candidates: Candidate[], [action, ...rest]: Value[], byUid: boolean): Outcome {
    this.#writable();
    const match = /^([+-]?)FLAGS(\.SILENT)?$/i.exec(text(action));
    if (!match) throw new SyntaxFault('FLAGS, +FLAGS or -FLAGS, please');
    const flags = checkedFlags(Array.isArray(rest[0]) ? rest[0] : rest);
    for (const { message } of candidates) changeFlags(message, match[1] ?? '', flags);
    if (match[2]) return {};
    const uid = (message: Message) => (byUid ? `UID ${message.uid} ` : '');
    const row = ({ message, sequence }: Candidate) =>
      `* ${sequence} FETCH (${uid(message)}FLAGS ${flagList(message)})\r\n`;
    return { untagged: candidates.map(row).join('') };
  }

  #search(keys: Value[], number: (candidate: Candidate) => number): Outcome {
    const charset = typeof keys[0] === 'string' && keys[0].toUpperCase() === 'CHARSET' ? 2 : 0;
    const largest = { sequence: this.#view.length, uid: this.#view.at(-1)?.uid ?? 0 };
    const found = this.#candidates().filter(parseSearch(keys.slice(charset), largest));
    return { untagged: `* SEARCH${found.map((candidate) => ` ${number(candidate)}`).join('')}\r\n` };
  }

  #writable(): void {
    if (this.#readOnly) throw new Refused('NO', '[READ-ONLY] Mailbox was opened with EXAMINE');
  }

  #expunge(): void {
    this.#selected?.remove(new Set(this.#view.filter((message) => message.flags.has('\\Deleted'))));
  }

  /** What happened to the selected mailbox since the client last heard of it, and from now on it knows. */
  #changes(): string {
    if (!this.#selected) return '';
    const now = new Set(this.#selected.messages);
    let news = '';
    for (let index = this.#view.length - 1; index >= 0; index--) {
      if (!now.has(this.#view[index] as Message)) news += `* ${index + 1} EXPUNGE\r\n`;
    }
    const left = this.#view.filter((message) => now.has(message)).length;
    this.#view = [...now];
    return left < now.size ? `${news}* ${now.size} EXISTS\r\n` : news;
  }
}

/** `*` is anything, `%` anything but the separator. */
function patternOf(pattern: string): RegExp {
  const quoted = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${quoted.replace(/\*+/g, '.*').replaceAll('%', '[^/]*')}$`, /^inbox$/i.test(pattern) ? 'i' : '');
}

function checkedFlags(values: Value[]): string[] {
  const flags = values.map((value) => systemCase(text(value)));
  const wrong = flags.find((flag) => !/^\\?[!#$&',-[\]^-z|~.]{1,64}$/.test(flag));
  if (wrong !== undefined) throw new SyntaxFault('Not a flag');
  return flags;
}

/** Flags are case-insensitive; system flags are kept in RFC 9051's own form. */
function systemCase(flag: string): string {
  return SYSTEM_FLAGS.find((known) => known.toLowerCase() === flag.toLowerCase()) ?? flag;
}

function changeFlags(message: Message, action: string, flags: string[]): void {
  if (action === '') message.flags = new Set(flags.slice(0, FLAGS));
  if (action === '-') for (const flag of flags) message.flags.delete(flag);
  if (action === '+') for (const flag of flags) if (message.flags.size < FLAGS) message.flags.add(flag);
}
