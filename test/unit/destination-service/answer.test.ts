import { describe, expect, it } from 'vitest';
import { readAnswer, tokensOf } from '../../../sidecar-auth/destination-service/answer.ts';
import { Failure } from '../../../sidecar-auth/failure.ts';

/** JSON can have such a key, and then String(value) throws. */
const HOSTILE = { toString: 1 };
const GOOD = { type: 'Bearer', value: 'jwt', expires_in: '60', refresh_token: 'r' };

const tokens = (token: object) =>
  tokensOf(readAnswer(JSON.stringify({ destinationConfiguration: {}, authTokens: [token] })), []);

describe('a token in which a text is something else', () => {
  it.each(['type', 'value'])('%s: there is none', (key) => {
    for (const value of [HOSTILE, [], 1, null]) expect(() => tokens({ ...GOOD, [key]: value })).toThrow(Failure);
  });

  it.each(['expires_in', 'refresh_token', 'error'])('%s: is as if it were not there', (key) => {
    for (const value of [HOSTILE, [], null]) {
      expect(tokens({ ...GOOD, [key]: value })).toMatchObject({ accessToken: 'jwt' });
      expect(() => tokens({ error: 'x', [key]: value })).toThrow(Failure);
    }
  });

  it('the twin: a good one', () => {
    const { expiresAt, ...rest } = tokens(GOOD);
    expect(rest).toEqual({ accessToken: 'jwt', refreshToken: 'r' });
    expect(expiresAt - Date.now()).toBeLessThanOrEqual(60_000);
  });
});
