import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type HelperEvent, helperEvent, oauthbearer, xoauth2 } from './helper-events.ts';

export type Side = 'app' | 'server';

export type Event =
  | { kind: 'says'; side: Side; bytes: Buffer }
  | { kind: 'ends'; side: Side }
  | { kind: 'deadline' }
  | HelperEvent
  /** What must have come out since the event before. */
  | { kind: 'expect'; received: Record<Side, string> }
  | { kind: 'over' }
  | { kind: 'failure'; code: string };

/** How the destination logs in by token; `brings`: what an app may present. */
export type TokenLogin =
  | { kind: 'bearer'; user: string; token: string; brings?: string }
  | { kind: 'exchange'; brings: string };

export interface Dialog {
  name: string;
  protocol: 'smtp' | 'imap' | 'pop3';
  /** BasicAuthentication, or NoAuthentication where `token` is not there either. */
  login: { user: string; password: string } | undefined;
  token: TokenLogin | undefined;
  /** The only mechanisms that may be used at the server. */
  mechanisms: string | undefined;
  app: { user: string; password: string } | undefined;
  preauth: boolean;
  unreachable: string | undefined;
  /** The route leads through sidecar-auth's relay. */
  relay: boolean;
  events: Event[];
}

const ROOT = join(import.meta.dirname, '..', 'dialogs');
const ESCAPES: Record<string, string> = { r: '\r', n: '\n', '0': '\0', t: '\t', '\\': '\\' };
/** Stands for any characters of one line; no dialog has this character of its own. */
const ANYTHING = '\u{f000}';

export function readDialogs(protocol: Dialog['protocol']): Dialog[] {
  const folder = join(ROOT, protocol);
  const files = readdirSync(folder).filter((name) => name.endsWith('.dialog'));
  return files.sort().map((name) => parse(protocol, name, readFileSync(join(folder, name), 'utf8')));
}

/** Whether `actual` is what a dialog expects. */
export function matches(expected: string, actual: string): boolean {
  return patternOf(expected).test(actual);
}

/** The expectation in a readable form. */
export function shown(expected: string): string {
  return expected.replaceAll(ANYTHING, '{*}');
}

function patternOf(expected: string): RegExp {
  const parts = expected.split(ANYTHING).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^\\r\\n]*')}$`);
}

export function parse(protocol: Dialog['protocol'], file: string, text: string): Dialog {
  const lines = text.split('\n');
  const start = lines.indexOf('---');
  if (start < 0 || !text.startsWith('# ')) throw new Error(`${file}: wants a comment, settings, '---' and events`);
  const settings = new Map(lines.slice(0, start).filter(isContent).map(setting));
  return {
    name: basename(file, '.dialog'),
    protocol,
    ...loginOf(settings.get('login') ?? 'alice secret', settings.get('brings')),
    mechanisms: settings.get('mechanisms'),
    app: settings.has('app') ? pair(settings.get('app') ?? '') : undefined,
    preauth: settings.get('greeting') === 'preauth',
    unreachable: settings.get('unreachable'),
    relay: settings.get('via') === 'relay',
    events: merge(
      lines
        .slice(start + 1)
        .filter(isContent)
        .map((line) => event(file, line)),
    ),
  };
}

function isContent(line: string): boolean {
  return line.trim() !== '' && !line.startsWith('#');
}

function setting(line: string): [string, string] {
  const [, key, value] = /^(login|brings|mechanisms|app|greeting|unreachable|via): (.+)$/.exec(line) ?? [];
  if (key === undefined || value === undefined) throw new Error(`no setting: ${line}`);
  return [key, value];
}

function loginOf(value: string, brings: string | undefined): Pick<Dialog, 'login' | 'token'> {
  const [kind, user = '', token] = unfolded(value).split(' ');
  if (value === 'none') return { login: undefined, token: undefined };
  if (kind === 'exchange') return { login: undefined, token: { kind, brings: user } };
  if (kind !== 'bearer' || token === undefined) return { login: pair(value), token: undefined };
  return { login: undefined, token: { kind, user, token, ...(brings !== undefined && { brings }) } };
}

function pair(value: string): { user: string; password: string } {
  const [user = '', password = ''] = value.split(' ').map(escapes);
  return { user, password };
}

function event(file: string, line: string): Event {
  const [, side, arrow, text] = /^(app|server)([<>]) *(.*)$/.exec(line) ?? [];
  if (side !== undefined) return message(side as Side, arrow === '>', lineOf(text ?? ''));
  const [, toHelper, helper] = /^helper([<>]) *(.*)$/.exec(line) ?? [];
  if (helper !== undefined) return helperEvent(toHelper === '<', escapes(unfolded(helper)));
  const [, ender] = /^(app|server) ends$/.exec(line) ?? [];
  if (ender !== undefined) return { kind: 'ends', side: ender as Side };
  const [, code] = /^failure (\w+)$/.exec(line) ?? [];
  if (code !== undefined) return { kind: 'failure', code };
  if (line === 'over' || line === 'deadline') return { kind: line };
  throw new Error(`${file}: no event: ${line}`);
}

function message(side: Side, says: boolean, text: string): Event {
  if (says) return { kind: 'says', side, bytes: Buffer.from(text, 'latin1') };
  return { kind: 'expect', received: { app: '', server: '', [side]: text } };
}

function lineOf(text: string): string {
  const line = unfolded(text).replaceAll('{*}', ANYTHING);
  return line.endsWith('\\') && !line.endsWith('\\\\') ? escapes(line.slice(0, -1)) : `${escapes(line)}\r\n`;
}

const base64 = (octets: string) => Buffer.from(octets, 'latin1').toString('base64');

/** With what stands in braces written out; repetitions may stand in the other forms. */
function unfolded(text: string): string {
  return text
    .replace(/\{base64:([^{}]*)\}/g, (_, value: string) => base64(escapes(value)))
    .replace(/\{([^{}*]+)\*(\d+)\}/g, (_, part: string, times: string) => escapes(part).repeat(Number(times)))
    .replace(/\{base64:([^{}]*)\}/g, (_, value: string) => base64(escapes(value)))
    .replace(/\{(xoauth2|oauthbearer):([^{} ]+) ([^{} ]+)\}/g, (_, mechanism: string, user: string, token: string) =>
      base64((mechanism === 'xoauth2' ? xoauth2 : oauthbearer)(escapes(user), escapes(token))),
    );
}

function escapes(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.)/g, (_, code: string) =>
    code.startsWith('x') ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? code),
  );
}

/** Consecutive lines of one kind are one event; an expectation follows every event, if only "nothing". */
function merge(events: Event[]): Event[] {
  const merged: Event[] = [];
  for (const next of events) {
    const last = merged.at(-1);
    if (next.kind === 'says' && last?.kind === 'says' && last.side === next.side) {
      last.bytes = Buffer.concat([last.bytes, next.bytes]);
    } else if (next.kind === 'expect' && last?.kind === 'expect') {
      last.received.app += next.received.app;
      last.received.server += next.received.server;
    } else {
      if (isInput(last) && next.kind !== 'expect') merged.push({ kind: 'expect', received: { app: '', server: '' } });
      merged.push(next);
    }
  }
  if (isInput(merged.at(-1))) merged.push({ kind: 'expect', received: { app: '', server: '' } });
  return merged;
}

const INPUTS = new Set(['says', 'ends', 'deadline', 'answers']);

export function isInput(event: Event | undefined): boolean {
  return event !== undefined && INPUTS.has(event.kind);
}
