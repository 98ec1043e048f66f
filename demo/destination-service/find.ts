import type { IncomingMessage } from 'node:http';
import type { Level, Properties, View } from './accounts.ts';
import { refuse } from './refusal.ts';

/** What a request asks for. */
export interface Query {
  name: string;
  /** v2 only. */
  level?: string;
  skipTokenRetrieval: boolean;
}

/** The service's words for it, which SAP's own client compares. */
export const NOT_FOUND = 'Configuration with the specified name was not found';

const PATH = /^\/destination-configuration\/(v1|v2)\/destinations\/([^/]+)$/;

/**
 * Reads the request line. @throws Refusal 404 for another path, 405 for another method, 400 for what the path or
 * query lacks
 */
export function readQuery(request: IncomingMessage): Query {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const match = PATH.exec(url.pathname);
  if (!match) throw refuse(404, 'No such resource');
  if (request.method !== 'GET') throw refuse(405, 'Method is not allowed', { allow: 'GET' });
  const skipTokenRetrieval = readSkip(url.searchParams);
  const [, version, segment = ''] = match;
  if (version === 'v1') return { name: decoded(segment), skipTokenRetrieval };
  const at = segment.lastIndexOf('@');
  if (at < 1) throw refuse(400, 'Destination must be given as name@level');
  return { name: decoded(segment.slice(0, at)), level: segment.slice(at + 1), skipTokenRetrieval };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw refuse(400, 'Destination name is not encoded properly');
  }
}

function readSkip(query: URLSearchParams): boolean {
  for (const key of query.keys()) {
    if (key !== '$skipTokenRetrieval') throw refuse(400, `Query parameter ${key} is not supported`);
  }
  const value = query.get('$skipTokenRetrieval') ?? 'false';
  if (value !== 'true' && value !== 'false') throw refuse(400, '$skipTokenRetrieval must be true or false');
  return value === 'true';
}

export interface Fragments {
  names: string[];
  optional: boolean;
}

const SINGLE = [
  'x-fragment-name',
  'x-fragment-optional',
  'x-chain-name',
  'x-refresh-token',
  'x-code',
  'x-redirect-uri',
  'x-code-verifier',
  'x-tenant',
];

/** "Extending Destinations with Fragments". */
export function readFragments(request: IncomingMessage): Fragments {
  for (const name of SINGLE) {
    const times = request.rawHeaders.filter((header, index) => index % 2 === 0 && header.toLowerCase() === name).length;
    if (times > 1) throw refuse(400, `Only one ${name} header may be present`);
  }
  const list = text(request, 'x-fragment-name');
  const optional = text(request, 'x-fragment-optional');
  if (optional !== undefined && optional !== 'true' && optional !== 'false')
    throw refuse(400, 'X-fragment-optional must be true or false');
  if (list === undefined) {
    if (optional !== undefined) throw refuse(400, 'X-fragment-optional needs X-fragment-name');
    return { names: [], optional: false };
  }
  const names = list.split(',').map((name) => name.trim());
  if (names.includes('')) throw refuse(400, 'X-fragment-name has an empty name');
  if (names.length > 1 && optional !== undefined) throw refuse(400, 'X-fragment-optional is for one fragment only');
  return { names, optional: optional === 'true' };
}

/**
 * Chain names, each with the variables that it needs. @throws Refusal 400 for another chain, a missing variable, or
 * variables without a chain
 */
export function checkChain(request: IncomingMessage, chains: Record<string, string[]>): void {
  const name = text(request, 'x-chain-name');
  const variables = Object.keys(request.headers).flatMap((header) =>
    header.startsWith('x-chain-var-') ? [header.slice(12)] : [],
  );
  if (name === undefined) {
    if (variables.length > 0) throw refuse(400, 'X-chain-var headers need X-chain-name');
    return;
  }
  const needed = Object.hasOwn(chains, name) ? chains[name] : undefined;
  if (!needed) throw refuse(400, `Chain ${name} is not supported`);
  for (const variable of needed) {
    if (!variables.includes(variable.toLowerCase()))
      throw refuse(400, `Mandatory header X-chain-var-${variable} is missing`);
  }
}

function text(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** The destination with its fragments merged in. @throws Refusal 404 where one is missing */
export function lookUp(view: View, { name, level }: Query, fragments: Fragments): Properties {
  const own = level === undefined ? levelOf(view, name) : view.level(level);
  const destination = view.at(own).destinations?.find(({ Name }) => Name === name);
  if (!destination) throw refuse(404, NOT_FOUND);
  const found = fragments.names.flatMap((fragment) =>
    fragmentOf(view, own, fragment, level !== undefined, fragments.optional),
  );
  if (found.length === 0) return { ...destination };
  const FragmentName = found.map((fragment) => fragment.FragmentName).join(',');
  return { ...destination, ...Object.assign({}, ...found), FragmentName };
}

/** "First, the service searches the destinations that are associated with the service instance." */
function levelOf(view: View, name: string): Level {
  return view.at('instance').destinations?.some(({ Name }) => Name === name) ? 'instance' : 'subaccount';
}

function fragmentOf(view: View, own: Level, text: string, levels: boolean, optional: boolean): Properties[] {
  const at = levels ? text.lastIndexOf('@') : -1;
  const level = at < 0 ? own : view.level(text.slice(at + 1));
  const name = at < 0 ? text : text.slice(0, at);
  if (view.isSubscriber && level !== own && [level, own].includes('subaccount')) {
    throw refuse(403, 'Resources of subaccount level must not be combined with those of another level');
  }
  const fragment = view.at(level).fragments?.find(({ FragmentName }) => FragmentName === name);
  if (!fragment && !optional) throw refuse(404, `Fragment with name ${name} was not found`);
  return fragment ? [fragment] : [];
}
