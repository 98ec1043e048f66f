/** Every limit of tokens and grants, with its reason. */

/** A token is renewed this long before its end, in seconds, as Microsoft's own mail programs do: a login must not meet an old one. */
export const RENEWAL_MARGIN_S = 600;

/** ... and where its lifetime is short, in its last quarter. */
export const RENEWAL_SHARE = 0.25;

/** A token with less than this left, in seconds, is not handed out: it must outlive the login, and clocks that differ. */
export const LAST_SECONDS = 15;

/** For an answer without `expires_in`, which RFC 6749 section 5.1 only recommends, in seconds. */
export const UNKNOWN_LIFETIME_S = 300;

/** A token service may say any number; a token that is a day old is better renewed, in seconds. */
export const LONGEST_LIFETIME_S = 86_400;

/** Milliseconds for which a refusal stands: apps try again at once, and a token service locks out who asks too often. */
export const REFUSAL_MS = 5_000;

/** ... and a failure that may pass by itself: its requests have been repeated already. */
export const FAULT_MS = 1_000;

/** So often within so many milliseconds a refused token is replaced at once: revocations are rare, and after that the next one will be refused, too. */
export const REPLACEMENTS = 3;
export const REPLACED_MS = 30_000;

/** Tokens and failures in memory. At 4 KiB each that is 40 MiB. */
export const CACHE_ENTRIES = 10_000;

/** Octets of an access token: what the filter can send in one line (docs/contract.md). */
export const TOKEN_LIMIT = 16_384;

/** Octets of a token service's answer: three tokens of 16 KiB and an ID token. */
export const ANSWER_LIMIT = 131_072;

/**
 * Milliseconds for which one process alone may use a refresh token. While its requests run, it renews this each quarter; so it only has to outlive
 * a slow write to the store, and a process that was killed blocks the grant no longer than this.
 */
export const LEASE_MS = 20_000;

/** Milliseconds between looks at a grant that another process is renewing. */
export const LEASE_POLL_MS = 100;

/** Milliseconds after which a draft in the folder of grants is one of a killed process: writing takes a few. */
export const DRAFT_MS = 60_000;

/** Octets of one stored grant: two tokens of 16 KiB in base64, and what stands around them. */
export const GRANT_LIMIT = 65_536;

/** Milliseconds after which a grant that nobody used is dropped: Google's refresh tokens end after six months without use. */
export const GRANT_UNUSED_MS = 183 * 86_400_000;

/** Octets of all grants in one Kubernetes Secret, which may have 1 MiB: the oldest go first. */
export const SECRET_LIMIT = 800 * 1024;

/** Date.now() from which on a token is renewed, given when it was issued and when it ends. */
export function renewAt(issuedAt: number, expiresAt: number): number {
  return expiresAt - Math.min(RENEWAL_MARGIN_S * 1000, (expiresAt - issuedAt) * RENEWAL_SHARE);
}
