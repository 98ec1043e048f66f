import type { Message } from '../store.ts';
import { SyntaxFault, type Value } from './arguments.ts';
import { addresses, field, fields, type Part, parsePart } from './mime.ts';

const MACROS: Record<string, string[]> = {
  FAST: ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE'],
  ALL: ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE'],
  FULL: ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE', 'BODY'],
};

const SIMPLE: Record<string, (message: Message, part: () => Part) => string> = {
  UID: (message) => `${message.uid}`,
  FLAGS: (message) => flagList(message),
  INTERNALDATE: (message) => `"${dateTime(message.received)}"`,
  'RFC822.SIZE': (message) => `${message.content.length}`,
  RFC822: (message) => literal(message.content),
  'RFC822.HEADER': (_, part) => literal(part().header),
  'RFC822.TEXT': (_, part) => literal(part().body),
  ENVELOPE: (_, part) => envelope(part()),
  BODY: (_, part) => structure(part()),
  BODYSTRUCTURE: (_, part) => structure(part()),
};

/** `BODY[1.2.HEADER.FIELDS (FROM)]<0.100>`: peek, part number, what of it, field names, offset, length. */
const BODY =
  /^BODY(\.PEEK)?\[(?:(\d+(?:\.\d+){0,9})(?:\.|(?=\])))?(HEADER|TEXT|MIME|HEADER\.FIELDS(?:\.NOT)?(?= ))?(?: \(([^()]*)\))?\](?:<(\d{1,9})\.(\d{1,9})>)?$/i;

/** The data items of a FETCH command, in upper case, macros replaced. @throws {SyntaxFault} */
export function fetchItems(value: Value | undefined): string[] {
  const names = (Array.isArray(value) ? value : [value]).map((item) => {
    if (typeof item !== 'string') throw new SyntaxFault('Not a data item');
    return item.toUpperCase();
  });
  const items = names.flatMap((name) => (Object.hasOwn(MACROS, name) ? (MACROS[name] as string[]) : [name]));
  const unknown = items.find((item) => !Object.hasOwn(SIMPLE, item) && !BODY.test(item));
  if (unknown !== undefined || items.length === 0) throw new SyntaxFault('Data item not known');
  return items;
}

/** RFC 9051 section 6.4.5: who reads a body without PEEK has seen it. */
export function marksSeen(items: string[]): boolean {
  return items.some((item) => item.startsWith('BODY[') || item === 'RFC822' || item === 'RFC822.TEXT');
}

/** The text between the parentheses of `* n FETCH (...)`. */
export function fetchData(message: Message, items: string[]): string {
  let parsed: Part | undefined;
  const part = () => {
    parsed ??= parsePart(message.content);
    return parsed;
  };
  return items
    .map((item) => SIMPLE[item]?.(message, part) ?? section(item, message, part))
    .map((data, index) => `${(items[index] as string).replace('.PEEK', '').replace(/<(\d+)\.\d+>$/, '<$1>')} ${data}`)
    .join(' ');
}

export function flagList(message: Message): string {
  return `(${[...message.flags].join(' ')})`;
}

function section(item: string, message: Message, root: () => Part): string {
  const [, , number, what = '', names = '', offset, length] = BODY.exec(item) as RegExpExecArray;
  const found = number || what ? sectionText(root(), number, what, names) : message.content;
  if (found === undefined) return 'NIL';
  return literal(offset === undefined ? found : found.slice(Number(offset), Number(offset) + Number(length)));
}

function sectionText(root: Part, number: string | undefined, what: string, names: string): string | undefined {
  const part = number ? partAt(root, number) : root;
  if (!part) return undefined;
  if (what === 'MIME') return part.header;
  if (number && what === '') return part.body;
  // HEADER and TEXT of a numbered part are those of the message inside it.
  const message = number ? part.parts[0] : part;
  if (!message || (number && part.type.toLowerCase() !== 'message')) return undefined;
  if (what === 'TEXT') return message.body;
  return what === 'HEADER' ? message.header : someFields(message.header, names, what.endsWith('.NOT'));
}

/** Part numbers (RFC 9051 section 6.4.5.1): a message that is no multipart is its own part 1. */
function partAt(root: Part, number: string): Part | undefined {
  let part: Part | undefined = root;
  for (const index of number.split('.').map(Number)) {
    const inside: Part | undefined = part.type.toLowerCase() === 'message' ? part.parts[0] : part;
    const leaf: boolean = inside?.type.toLowerCase() !== 'multipart';
    part = leaf ? (index === 1 && inside !== undefined ? inside : undefined) : inside?.parts[index - 1];
    if (!part) return undefined;
  }
  return part;
}

function someFields(header: string, names: string, not: boolean): string {
  const wanted = new Set(names.toLowerCase().replaceAll('"', '').split(' '));
  const chosen = fields(header).filter((candidate) => wanted.has(candidate.name) !== not);
  return `${chosen.map((candidate) => candidate.raw).join('')}\r\n`;
}

function literal(text: string): string {
  return `{${text.length}}\r\n${text}`;
}

function string(text: string | undefined): string {
  if (text === undefined) return 'NIL';
  return /^[\x20-\x7e]{0,200}$/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : literal(text);
}

/** RFC 9051 section 7.5.2. */
function envelope(part: Part): string {
  const value = (name: string) => field(part.header, name);
  const from = value('from');
  const people = [from, value('sender') ?? from, value('reply-to') ?? from, value('to'), value('cc'), value('bcc')];
  const rest = [value('in-reply-to'), value('message-id')].map(string);
  return `(${[string(value('date')), string(value('subject')), ...people.map(addressList), ...rest].join(' ')})`;
}

function addressList(value: string | undefined): string {
  const all = addresses(value ?? '');
  if (all.length === 0) return 'NIL';
  return `(${all.map(({ name, mailbox, host }) => `(${string(name)} NIL ${string(mailbox)} ${string(host)})`).join('')})`;
}

/** BODY and BODYSTRUCTURE alike: extension data may be left out (RFC 9051 section 7.5.2). */
function structure(part: Part): string {
  if (part.type.toLowerCase() === 'multipart' && part.parts.length > 0) {
    return `(${part.parts.map(structure).join('')} ${string(part.subtype.toUpperCase())})`;
  }
  const value = (name: string) => field(part.header, name);
  const basic = [
    string(part.type.toUpperCase()),
    string(part.subtype.toUpperCase()),
    parameterList(part.parameters),
    string(value('content-id')),
    string(value('content-description')),
    string((value('content-transfer-encoding') ?? '7bit').toUpperCase()),
    `${part.body.length}`,
  ];
  return `(${[...basic, ...typeSpecific(part)].join(' ')})`;
}

function typeSpecific(part: Part): string[] {
  const lines = `${part.body.split('\r\n').length - 1}`;
  const message = part.type.toLowerCase() === 'message' ? part.parts[0] : undefined;
  if (message) return [envelope(message), structure(message), lines];
  return part.type.toLowerCase() === 'text' ? [lines] : [];
}

function parameterList(parameters: Record<string, string>): string {
  const pairs = Object.entries(parameters).map(([name, value]) => `${string(name)} ${string(value)}`);
  return pairs.length > 0 ? `(${pairs.join(' ')})` : 'NIL';
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** RFC 9051 date-time, in UTC. */
function dateTime(date: Date): string {
  const day = `${date.getUTCDate()}`.padStart(2, ' ');
  const time = date.toISOString().slice(11, 19);
  return `${day}-${MONTHS[date.getUTCMonth()]}-${date.getUTCFullYear()} ${time} +0000`;
}
