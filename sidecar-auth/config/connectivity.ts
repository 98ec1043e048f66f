import { accessSync, constants } from 'node:fs';
import type { TokenSource } from '../relay-target.ts';
import type { Section } from './section.ts';

/** The Connectivity Proxy: host is a name or an IP address. */
export interface Connectivity {
  host: string;
  port: number;
  token: TokenSource;
}

/** Key `connectivity` of FILE. */
export function readConnectivity(section: Section | undefined): Connectivity | undefined {
  if (!section) return undefined;
  const host = section.required('host');
  const port = section.integer('port', 1, 65535) ?? 20004; // its TCP port by default (SAP: configuration-guide)
  const token = readToken(section);
  section.finish();
  return host === undefined || token === undefined ? undefined : { host, port, token };
}

const TOKENS = 'must be none, { file: PATH } or { binding: PATH }';

function readToken(section: Section): TokenSource | undefined {
  if (!section.has('token')) return section.mistake('token', `is missing: it ${TOKENS}`);
  if (section.isText('token')) {
    return section.text('token') === 'none' ? { kind: 'none' } : section.mistake('token', TOKENS);
  }
  const token = section.section('token');
  const file = token?.path('file');
  const binding = token?.path('binding');
  token?.finish();
  if ((file === undefined) === (binding === undefined)) return section.mistake('token', TOKENS);
  if (!readable(file ?? binding ?? '')) return section.mistake('token', `${file ?? binding} can't be read`);
  return file === undefined ? { kind: 'binding', path: binding ?? '' } : { kind: 'file', file };
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
