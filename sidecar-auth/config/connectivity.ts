import { accessSync, constants } from 'node:fs';
import type { TokenSource } from '../relay-target.ts';
import { bindingMistake } from './binding.ts';
import { readText } from './document.ts';
import { requiredHost } from './host.ts';
import type { Section } from './section.ts';

/** The Connectivity Proxy: host is a name or an IP address. */
export interface Connectivity {
  host: string;
  port: number;
  token: TokenSource;
}

/** Key `connectivity` of FILE. `files` gets the token's files while they have mistakes, so that a mended one is seen. */
export function readConnectivity(section: Section | undefined, files: string[]): Connectivity | undefined {
  if (!section) return undefined;
  const host = requiredHost(section, 'host');
  const port = section.integer('port', 1, 65535) ?? 20004; // its TCP port by default (SAP: configuration-guide)
  const token = readToken(section, files);
  section.finish();
  return host === undefined || token === undefined ? undefined : { host, port, token };
}

const TOKENS = 'none, { file: PATH } or { binding: PATH or NAME }';

function readToken(section: Section, files: string[]): TokenSource | undefined {
  if (!section.has('token')) return section.mistake('token', `is missing; it must be ${TOKENS}`);
  if (section.isText('token')) {
    return section.text('token') === 'none' ? { kind: 'none' } : section.mistake('token', `must be ${TOKENS}`);
  }
  const token = section.section('token');
  const file = token?.path('file');
  const binding = token?.text('binding');
  token?.finish();
  if ((file === undefined) === (binding === undefined)) return section.mistake('token', `must be ${TOKENS}`);
  return binding === undefined ? readFile(section, file ?? '', files) : readBinding(section, binding, files);
}

function readFile(section: Section, file: string, files: string[]): TokenSource | undefined {
  const mistake = tokenMistake(file);
  if (mistake === undefined) return { kind: 'file', file };
  files.push(file);
  return section.mistake('token.file', mistake);
}

/** Something else keeps it fresh: only what could not be a token at all is a mistake. */
function tokenMistake(file: string): string | undefined {
  let mistake: string | undefined;
  const text = readText(file, (what) => {
    mistake = what;
  });
  if (text === undefined || /^[\x21-\x7e]+\r?\n?$/.test(text)) return mistake;
  return `${file} must hold a token: printable ASCII without spaces, and not be empty`;
}

/** A path, or the name of a binding that is found when it is needed (SERVICE_BINDING_ROOT, VCAP_SERVICES). */
function readBinding(section: Section, binding: string, files: string[]): TokenSource | undefined {
  const path = section.absolute(binding);
  if (!binding.includes('/') && !readable(path)) return { kind: 'binding', path: binding };
  const mistake = bindingMistake(path);
  if (mistake === undefined) return { kind: 'binding', path };
  files.push(path);
  return section.mistake('token.binding', mistake);
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
