/** Every limit of bindings, with its reason. Those of tokens are in token/limits.ts. */

/** Octets of a binding's file: a handful of short values and perhaps a certificate chain. */
export const BINDING_LIMIT = 65_536;

/** Files of a binding's folder: services have some 20 keys. More is not a binding but a mistaken path. */
export const BINDING_FILES = 100;

/** Octets. A service's tokens with hundreds of scopes reach 16 KiB; more is not a token but a mistaken path. */
export const TOKEN_LIMIT = 65_536;
