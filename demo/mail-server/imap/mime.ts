import { ADDRESSES, NESTING } from '../limits.ts';

export interface Field {
  name: string;
  /** Unfolded, without surrounding space. */
  value: string;
  /** As it stands in the message, CRLF included. */
  raw: string;
}

/** A message or a body part (RFC 2045). */
export interface Part {
  /** With the blank line that ends it. */
  header: string;
  body: string;
  type: string;
  subtype: string;
  parameters: Record<string, string>;
  /** Of a multipart; of message/rfc822 the one message inside. */
  parts: Part[];
}

export function parsePart(content: string, depth = 0): Part {
  const header = /^(?:[^\r\n][^\r\n]*\r\n)*(?:\r\n|$)/.exec(content)?.[0] ?? '';
  const body = content.slice(header.length);
  const declared = field(header, 'content-type') ?? '';
  const match = /^([\w!#$&^.+-]+)\/([\w!#$&^.+-]+)/.exec(declared);
  const [type, subtype] = match ? [match[1] as string, match[2] as string] : ['text', 'plain'];
  const part: Part = { header, body, type, subtype, parameters: parameters(declared), parts: [] };
  if (depth < NESTING) part.parts = children(part, depth);
  return part;
}

export function fields(header: string): Field[] {
  const raws = header.match(/[^\r\n][^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*/g) ?? [];
  return raws.map((raw) => {
    const colon = raw.indexOf(':');
    const value = raw.slice(colon + 1).replace(/\r\n/g, '');
    return { name: raw.slice(0, Math.max(colon, 0)).trim().toLowerCase(), value: value.trim(), raw };
  });
}

/** The first field of this (lower-case) name. */
export function field(header: string, name: string): string | undefined {
  return fields(header).find((candidate) => candidate.name === name)?.value;
}

/** `; name=value; name="value"` after a media type or disposition. */
export function parameters(value: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const match of value.matchAll(/;\s*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/g)) {
    found[(match[1] as string).toLowerCase()] = match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '';
  }
  return found;
}

function children(part: Part, depth: number): Part[] {
  const type = part.type.toLowerCase();
  if (type === 'message' && part.subtype.toLowerCase() === 'rfc822') return [parsePart(part.body, depth + 1)];
  const boundary = part.parameters.boundary;
  if (type !== 'multipart' || !boundary) return [];
  return splitAt(boundary, part.body).map((content) => parsePart(content, depth + 1));
}

/** RFC 2046 section 5.1.1: the CRLF before a delimiter line belongs to the delimiter. */
function splitAt(boundary: string, body: string): string[] {
  const inner = `\r\n${body}`.split(`\r\n--${boundary}`).slice(1);
  const end = inner.findIndex((piece) => piece.startsWith('--'));
  return (end < 0 ? inner : inner.slice(0, end)).map((piece) => piece.replace(/^[ \t]*\r\n/, ''));
}

export interface Address {
  name: string | undefined;
  mailbox: string;
  host: string;
}

/** The addresses of a From or To field in its common forms: `a@b`, `Name <a@b>`, `"Na, me" <a@b>`. */
export function addresses(value: string): Address[] {
  const pieces = value.slice(0, ADDRESSES).match(/(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,"<])+/g) ?? [];
  return pieces.flatMap((piece) => {
    const match = /^\s*(.*?)\s*<\s*([^<>]*)>\s*$/.exec(piece);
    const address = (match?.[2] ?? piece).trim();
    const at = address.lastIndexOf('@');
    if (at < 0) return [];
    const name = match?.[1]?.replace(/^"(.*)"$/, '$1').replace(/\\(.)/g, '$1');
    return [{ name: name || undefined, mailbox: address.slice(0, at), host: address.slice(at + 1) }];
  });
}
