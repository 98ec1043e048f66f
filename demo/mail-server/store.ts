import { EventEmitter } from 'node:events';
import { FLAGS, MESSAGES } from './limits.ts';

export interface Message {
  uid: number;
  received: Date;
  flags: Set<string>;
  /** RFC 5322 message, one character an octet, lines end with CRLF. */
  content: string;
}

/** One mailbox (IMAP's word for a folder). Emits `change` when a message comes or goes. */
export class Mailbox extends EventEmitter {
  readonly name: string;
  readonly uidValidity = Math.floor(Date.now() / 1000);
  uidNext = 1;
  messages: Message[] = [];

  constructor(name: string) {
    super();
    this.name = name;
    this.setMaxListeners(0); // one per idling client
  }

  get full(): boolean {
    return this.messages.length >= MESSAGES;
  }

  /** Line ends become CRLF: a bare LF would let text inside a message pass for the end of a POP3 reply. */
  add(text: string, flags: Iterable<string> = [], received = new Date()): Message {
    const content = text.replace(/\r\n|\r|\n/g, '\r\n');
    const message = { uid: this.uidNext++, received, flags: new Set([...flags].slice(0, FLAGS)), content };
    this.messages.push(message);
    this.emit('change');
    return message;
  }

  remove(gone: Set<Message>): void {
    this.messages = this.messages.filter((message) => !gone.has(message));
    this.emit('change');
  }
}

/** What each user has besides INBOX: clients keep copies and drafts. */
const MAILBOXES = ['INBOX', 'Sent', 'Drafts', 'Trash'];

/** All mail of all users, in memory. */
export class Store {
  readonly #users = new Map<string, Mailbox[]>();

  /** The first user also gets the mail for recipients that nobody here is. */
  constructor(users: string[]) {
    for (const user of users)
      this.#users.set(
        user,
        MAILBOXES.map((name) => new Mailbox(name)),
      );
  }

  mailboxes(user: string): Mailbox[] {
    const mailboxes = this.#users.get(user);
    if (!mailboxes) throw new Error(`no such user: ${user}`);
    return mailboxes;
  }

  /** RFC 9051 section 5.1: INBOX in any case, all other names as they are. */
  mailbox(user: string, name: string): Mailbox | undefined {
    const wanted = name.toUpperCase() === 'INBOX' ? 'INBOX' : name;
    return this.mailboxes(user).find((mailbox) => mailbox.name === wanted);
  }

  inbox(user: string): Mailbox {
    return this.mailbox(user, 'INBOX') as Mailbox;
  }

  /** The INBOX for an address: of the user with this name or local part, else of the first user. */
  inboxFor(address: string): Mailbox {
    const users = [...this.#users.keys()];
    const local = (user: string) => user.split('@')[0];
    const user = users.find((name) => name === address) ?? users.find((name) => local(name) === local(address));
    return this.inbox(user ?? (users[0] as string));
  }
}
