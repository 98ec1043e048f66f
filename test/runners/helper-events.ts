import type { Dialog } from './dialog.ts';

/** What a dialog says of sidecar-auth, the helper. */
export type HelperEvent =
  /** The filter must have asked this: the path, and the fields of the body without the route and a refusal's text. */
  | { kind: 'asked'; path: string; fields: Record<string, string> }
  /** The answer to that; `bodyFor` the route's id. */
  | { kind: 'answers'; status: string; bodyFor: (route: string) => string };

/** sidecar-auth's names for the session's own token and for one of a later answer. */
const FIRST_GRANT = 'grant0';
const LATER_GRANT = 'grant1';

/** A body of docs/contract.md; a list repeats its key. */
export function fields(values: Record<string, string | string[]>): string {
  const lines = Object.entries(values).flatMap(([key, value]) => [value].flat().map((one) => line(key, one)));
  return lines.join('');
}

const line = (key: string, value: string) => `${key}: ${Buffer.from(value, 'latin1').toString('base64')}\n`;

/** The reverse; no key repeats in what the filter asks. */
export function readFields(body: string): Record<string, string> {
  const lines = body.split('\n').filter((text) => text !== '');
  return Object.fromEntries(
    lines.map((text) => {
      const colon = text.indexOf(': ');
      return [text.slice(0, colon), Buffer.from(text.slice(colon + 2), 'base64').toString('latin1')];
    }),
  );
}

/** The initial responses that sidecar-auth makes of a token. */
export const xoauth2 = (user: string, token: string) => `user=${user}\x01auth=Bearer ${token}\x01\x01`;
export const oauthbearer = (user: string, token: string) =>
  `n,a=${user},\x01host=mx.example\x01port=25\x01auth=Bearer ${token}\x01\x01`;

export const bearerFields = (user: string, token: string, grant = LATER_GRANT) => ({
  xoauth2: xoauth2(user, token),
  oauthbearer: oauthbearer(user, token),
  grant,
});

/** The fields of a session's answer that the settings `login: bearer`, `login: exchange`, `brings` and `mechanisms` stand for. */
export function tokenSession({ token, mechanisms }: Dialog): Record<string, string> {
  return {
    ...(token?.kind === 'bearer' && { login: 'bearer', ...bearerFields(token.user, token.token, FIRST_GRANT) }),
    ...(token?.kind === 'exchange' && { login: 'exchange' }),
    ...(token?.brings !== undefined && { brings: token.brings }),
    ...(mechanisms !== undefined && { mechanisms }),
  };
}

/** `text` is what follows "helper<" or "helper>", unfolded. */
export function helperEvent(asks: boolean, text: string): HelperEvent {
  const [word = '', ...rest] = text.split(' ');
  return asks ? asked(word, rest) : answers(word, rest);
}

function asked(question: string, [user, token]: string[]): HelperEvent {
  const brought = user !== undefined && token !== undefined && { user, token };
  if (question === 'exchange' && brought) return { kind: 'asked', path: '/v1/exchanges', fields: brought };
  if (question !== 'rejection') throw new Error(`the filter never asks: ${question}`);
  const grant = brought ? LATER_GRANT : FIRST_GRANT;
  return { kind: 'asked', path: '/v1/rejections', fields: { failure: 'rejected', grant, ...brought } };
}

function answers(word: string, rest: string[]): HelperEvent {
  const [first = '', second = ''] = rest;
  const body = (values: Record<string, string>) => () => fields(values);
  switch (word) {
    case 'bearer':
      return answer('200', (route) => fields({ route, ...bearerFields(first, second) }));
    case 'other':
      return answer('200', body({ route: 'another', ...bearerFields(first, second) }));
    case 'failure':
      return answer('200', body({ failure: first, text: rest.slice(1).join(' '), destination: 'mail' }));
    case 'nothing':
      return answer('200', body({}));
    case 'status':
      return answer(first, body({}));
    default:
      throw new Error(`sidecar-auth never answers: ${word}`);
  }
}

function answer(status: string, bodyFor: (route: string) => string): HelperEvent {
  return { kind: 'answers', status, bodyFor };
}

/** What was asked, in the form of an `asked` event: without the route, and without a refusal's text (routes.test.ts looks at that). */
export function questionOf(
  path: string,
  body: string,
  route: string,
): { path: string; fields: Record<string, string> } {
  const { route: asked, text, ...rest } = readFields(body);
  if (asked !== route) throw new Error(`asked for the route ${asked} instead of ${route}`);
  if (path === '/v1/rejections' && !text) throw new Error('a rejection without a text');
  return { path, fields: rest };
}
