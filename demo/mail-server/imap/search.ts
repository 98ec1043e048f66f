import { SEARCH_KEYS } from '../limits.ts';
import type { Message } from '../store.ts';
import { parseSet, SyntaxFault, text, type Value } from './arguments.ts';
import { fields, parsePart } from './mime.ts';

export interface Candidate {
  message: Message;
  sequence: number;
}

export type Criterion = (candidate: Candidate) => boolean;

/** The largest numbers in the mailbox, which `*` stands for. */
export interface Largest {
  sequence: number;
  uid: number;
}

type Build = (take: () => Value, largest: Largest) => Criterion;

const flag =
  (name: string, wanted: boolean): Build =>
  () =>
  (candidate) =>
    candidate.message.flags.has(name) === wanted;

const header =
  (name: string): Build =>
  (take) =>
    inHeader(name, text(take()));

const KEYS: Record<string, Build> = {
  ALL: () => () => true,
  ANSWERED: flag('\\Answered', true),
  UNANSWERED: flag('\\Answered', false),
  DELETED: flag('\\Deleted', true),
  UNDELETED: flag('\\Deleted', false),
  FLAGGED: flag('\\Flagged', true),
  UNFLAGGED: flag('\\Flagged', false),
  SEEN: flag('\\Seen', true),
  UNSEEN: flag('\\Seen', false),
  FROM: header('from'),
  TO: header('to'),
  CC: header('cc'),
  SUBJECT: header('subject'),
  HEADER: (take) => inHeader(text(take()).toLowerCase(), text(take())),
  BODY: (take) => contains(text(take()), (message) => parsePart(message.content).body),
  TEXT: (take) => contains(text(take()), (message) => message.content),
  UID: (take, largest) => {
    const inSet = parseSet(text(take()), largest.uid);
    return (candidate) => inSet(candidate.message.uid);
  },
  NOT: (take, largest) => {
    const inner = criterion(take, largest);
    return (candidate) => !inner(candidate);
  },
};

/** What SEARCH looks for (RFC 9051 section 6.4.4; no dates, sizes or OR). All must hold. @throws {SyntaxFault} */
export function parseSearch(values: Value[], largest: Largest): Criterion {
  const rest = [...values];
  if (rest.length > SEARCH_KEYS) throw new SyntaxFault('Too many search keys');
  if (rest.length === 0) throw new SyntaxFault('A search key is missing');
  const take = () => {
    const value = rest.shift();
    if (value === undefined) throw new SyntaxFault('An argument is missing');
    return value;
  };
  const all: Criterion[] = [];
  while (rest.length > 0) all.push(criterion(take, largest));
  return (candidate) => all.every((holds) => holds(candidate));
}

function criterion(take: () => Value, largest: Largest): Criterion {
  const value = take();
  if (Array.isArray(value)) return parseSearch(value, largest);
  const key = value.toUpperCase();
  const build = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  if (build) return build(take, largest);
  if (!/^[\d*]/.test(value)) throw new SyntaxFault('Search key not known');
  const inSet = parseSet(value, largest.sequence);
  return (candidate) => inSet(candidate.sequence);
}

function contains(words: string, of: (message: Message) => string): Criterion {
  const wanted = words.toLowerCase();
  return ({ message }) => of(message).toLowerCase().includes(wanted);
}

function inHeader(name: string, words: string): Criterion {
  const wanted = words.toLowerCase();
  return ({ message }) =>
    fields(parsePart(message.content).header).some(
      (field) => field.name === name && field.value.toLowerCase().includes(wanted),
    );
}
