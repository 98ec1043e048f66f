/** Every limit of the Destination service's client, with its reason. */

/** How long a destination is kept: what SAP documents for its own proxy ("Cache"). */
export const DESTINATION_MS = 120_000;

/**
 * How long what is known is used without asking, once the service is down: each question can cost a login its time
 * limit.
 */
export const OUTAGE_MS = 10_000;

/**
 * How long a login waits for news where it could go on with what is known: a service that is well answers within that,
 * and an app notices no more.
 */
export const PATIENCE_MS = 1_000;

/**
 * How long "not found" and other refusals stand: apps try again at once, and people who mend a destination look soon.
 */
export const REFUSAL_MS = 5_000;

/** Octets of an answer: a destination, certificates, and tokens of 16 KiB. */
export const ANSWER_LIMIT = 1024 * 1024;

/** Octets of a refusal that are looked at for its text. */
export const TEXT_LIMIT = 160;

/** Destinations kept at once: more than one gateway has listeners. */
export const KEPT_DESTINATIONS = 10_000;
