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

const TOKENS = 'must be none, { file: PATH } or { binding: PATH or NAME }';

function readToken(section: Section): TokenSource | undefined {
  if (!section.has('token')) return section.mistake('token', `is missing: it ${TOKENS}`);
  if (section.isText('token')) {
    return section.text('token') === 'none' ? { kind: 'none' } : section.mistake('token', TOKENS);
  }
  const token = section.section('token');
  const file = token?.path('file');
  const binding = token?.text('binding');
  token?.finish();
  if ((file === undefined) === (binding === undefined)) return section.mistake('token', TOKENS);
  if (binding !== undefined) return readBinding(section, binding);
  return readable(file ?? '') ? { kind: 'file', file: file ?? '' } : section.mistake('token', `${file} can't be read`);
}

/** A path, or the name of a binding that is found when it is needed (SERVICE_BINDING_ROOT, VCAP_SERVICES). */
function readBinding(section: Section, binding: string): TokenSource | undefined {
  const path = section.absolute(binding);
  if (readable(path)) return { kind: 'binding', path };
  return binding.includes('/') ? section.mistake('token', `${path} can't be read`) : { kind: 'binding', path: binding };
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
