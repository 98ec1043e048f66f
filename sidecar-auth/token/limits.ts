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

/** Milliseconds after which a grant that nobody used is dropped: Google's refresh tokens end after six months without use. */
export const GRANT_UNUSED_MS = 183 * 86_400_000;

/** Grants in a folder. At 4 KiB each that is 40 MiB, and counting them takes milliseconds. */
export const FOLDER_GRANTS = 10_000;

/** Milliseconds between looks for grants that are over while a folder is full: they read all of it. */
export const PRUNE_MS = 60_000;

/** Octets above which a Kubernetes Secret takes no new grant. What is left up to its limit is for those in it to grow. */
export const SECRET_LIMIT = 800 * 1024;

/** Octets of a Kubernetes Secret: the API server refuses more. */
export const SECRET_MOST = 1024 * 1024;

/** Octets that a grant counts for at least: a new one is only a lease at first, and its refresh token must find room. */
export const GRANT_LEAST = 1024;

/** Milliseconds for which a write to a Secret is tried again where others write it, too: so long the filter waits for a login. */
export const SECRET_WRITE_MS = 30_000;

/** Milliseconds between two lines of the log that say that the store is full. */
export const FULL_LOG_MS = 60_000;

/** Date.now() from which on a token is renewed, given when it was issued and when it ends. */
export function renewAt(issuedAt: number, expiresAt: number): number {
  return expiresAt - Math.min(RENEWAL_MARGIN_S * 1000, (expiresAt - issuedAt) * RENEWAL_SHARE);
}
