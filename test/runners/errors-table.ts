import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import type { Seen } from './errors-app.ts';

const FILE = join(import.meta.dirname, '..', '..', 'docs', 'errors.md');
const TITLES: Record<Protocol, string> = { smtp: 'SMTP', imap: 'IMAP', pop3: 'POP3' };
const ENDS = { closed: '', cut: 'connection reset', open: 'the connection stays open' };

/** One row of docs/errors.md. */
export function row(title: string, { after, received, end }: Seen): string {
  const said = received === '' && end === 'closed' ? 'closed without a word' : ENDS[end];
  const lines = received.split('\r\n').filter((line) => line !== '');
  const seen = [...lines.map(code), said].filter((part) => part !== '');
  return `| ${title} | ${after === '' ? '' : code(after)} | ${seen.join('<br>')} |`;
}

/** GFM takes a bar for the next cell, in code too. */
function code(line: string): string {
  return `\`${line.replaceAll('|', '\\|')}\``;
}

/** The rows that stand in the file. */
export function rowsOf(protocol: Protocol): string[] {
  const [, table = ''] =
    new RegExp(`${open(protocol)}\n(.*?)${close(protocol)}`, 's').exec(readFileSync(FILE, 'utf8')) ?? [];
  return table
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1);
}

/** Puts the rows in place of those in the file. */
export function writeRows(protocol: Protocol, rows: string[]): void {
  const head = `\n| what is wrong | the app has said | the app sees |\n|---|---|---|\n`;
  const table = `${open(protocol)}\n${head}${rows.join('\n')}\n\n${close(protocol)}`;
  const text = readFileSync(FILE, 'utf8');
  writeFileSync(
    FILE,
    text.replace(new RegExp(`${open(protocol)}.*?${close(protocol)}`, 's'), () => table),
  );
}

const open = (protocol: Protocol) => `<!-- ${TITLES[protocol]}: made by test/runners/errors.test.ts -->`;
const close = (protocol: Protocol) => `<!-- end of ${TITLES[protocol]} -->`;
