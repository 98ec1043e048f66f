import { clean, Failure } from '../failure.ts';
import { Outage } from '../http.ts';
import { LONGEST_LIFETIME_S, TOKEN_LIMIT, UNKNOWN_LIFETIME_S } from '../token/limits.ts';
import { InvalidGrant, type IssuedTokens } from '../token/request.ts';
import { withoutSecrets } from '../token/without-secrets.ts';
import { TEXT_LIMIT } from './limits.ts';

/** SAP, ""Find a Destination" Response Structure". */
export interface Answer {
  configuration: Record<string, unknown>;
  authTokens: Record<string, unknown>[];
}

/** @throws Outage where it is no such answer: something else speaks in the service's place */
export function readAnswer(text: string): Answer {
  const { destinationConfiguration: configuration, authTokens } = parsed(text);
  if (!isObject(configuration)) {
    throw new Outage('unknown_destination', 'the Destination service gave an answer without a destination', {
      retry: true,
    });
  }
  return { configuration, authTokens: Array.isArray(authTokens) ? authTokens.filter(isObject) : [] };
}

/** What the service says about a refusal: its `ErrorMessage`, cleaned, without the secrets that it was sent. */
export function errorMessage(text: string, secrets: string[]): string {
  const { ErrorMessage: message } = parsed(text);
  return isText(message) ? clean(withoutSecrets(message, secrets), TEXT_LIMIT) : '';
}

/**
 * The access token in the answer.
 * @param secrets what an error text must not repeat: the service quotes the token service, and that what it was sent
 * @throws Failure token
 */
export function tokensOf({ authTokens }: Answer, secrets: string[]): IssuedTokens {
  const bearer = authTokens.find(
    ({ type, value }) => isText(type) && /^bearer$/i.test(type) && isText(value) && value !== '',
  );
  if (!bearer) throw missing(authTokens, secrets);
  const accessToken = String(bearer.value);
  if (!/^[\x21-\x7e]+$/.test(accessToken) || accessToken.length > TOKEN_LIMIT) {
    throw new Failure('token', `the access token must be printable ASCII of at most ${TOKEN_LIMIT} octets`);
  }
  const { refresh_token: refreshToken } = bearer;
  return {
    accessToken,
    expiresAt: Date.now() + lifetime(bearer.expires_in) * 1000,
    ...(isText(refreshToken) && refreshToken !== '' && { refreshToken }),
  };
}

/** Seconds; the service writes them as a text. */
function lifetime(value: unknown): number {
  const seconds = typeof value === 'number' || (isText(value) && /^\d+$/.test(value)) ? Number(value) : Number.NaN;
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, LONGEST_LIFETIME_S) : UNKNOWN_LIFETIME_S;
}

function missing(authTokens: Record<string, unknown>[], secrets: string[]): Failure {
  const error = authTokens.map((token) => token.error).find((text) => isText(text) && text !== '');
  if (!isText(error)) return new Failure('token', 'the Destination service gave no token');
  const text = `the Destination service got no token: ${clean(withoutSecrets(error, secrets), TEXT_LIMIT)}`;
  return /\binvalid_grant\b/.test(error)
    ? new InvalidGrant('token', text, { retry: false })
    : new Failure('token', text);
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {}; // the parser's own error quotes the text
  }
}

/** An object may have a toString of its own, which throws. */
function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
