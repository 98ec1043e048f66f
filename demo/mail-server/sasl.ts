import type { Connection } from './connection.ts';
import { SASL_LINE } from './limits.ts';

/** Where the secret is a password, and where it is an access token (Google's XOAUTH2, RFC 7628). */
export const PASSWORD_MECHANISMS = ['PLAIN', 'LOGIN'] as const;
export const TOKEN_MECHANISMS = ['XOAUTH2', 'OAUTHBEARER'] as const;
export type Mechanism = (typeof PASSWORD_MECHANISMS | typeof TOKEN_MECHANISMS)[number];

export interface Credentials {
  mechanism: Mechanism;
  user: string;
  /** A password, or an access token. */
  secret: string;
}

export interface SaslOptions {
  mechanisms: readonly Mechanism[];
  /** What a challenge starts with: `334 ` in SMTP, `+ ` in IMAP and POP3. */
  prefix: string;
  /** Whether these credentials let the user in. */
  check(credentials: Credentials): Promise<boolean>;
}

export type SaslFailure = 'unknown-mechanism' | 'cancelled' | 'malformed' | 'rejected';

/** Sends a challenge in the protocol's own form and returns the client's line. */
type Ask = (challenge: string) => Promise<string>;

/** Thrown to leave an exchange from any depth; never leaves this file. */
class SaslError extends Error {
  readonly failure: SaslFailure;
  constructor(failure: SaslFailure) {
    super(failure);
    this.failure = failure;
  }
}

/**
 * The server's side of SASL PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), XOAUTH2 and OAUTHBEARER (RFC 7628).
 * @param argument what follows AUTH or AUTHENTICATE: mechanism and perhaps an initial response (`=` is an empty one)
 */
export async function authenticate(
  connection: Connection,
  argument: string,
  { mechanisms, prefix, check }: SaslOptions,
): Promise<Credentials | SaslFailure> {
  const [name = '', initial] = argument.split(' ');
  const mechanism = mechanisms.find((known) => known === name.toUpperCase());
  if (!mechanism) return 'unknown-mechanism';
  const ask: Ask = async (challenge) => {
    await connection.send(`${prefix}${Buffer.from(challenge).toString('base64')}\r\n`);
    const line = await connection.line(SASL_LINE);
    if (line.tooLong) throw new SaslError('malformed');
    return line.text;
  };
  try {
    const credentials = { mechanism, ...(await EXCHANGES[mechanism](ask, initial)) };
    if (await check(credentials)) return credentials;
    // RFC 7628 section 3.2.3: the client hears why, and has to answer before the exchange can fail
    if (isToken(mechanism)) await ask(JSON.stringify({ status: '400', schemes: 'bearer', scope: 'mail' }));
    return 'rejected';
  } catch (error) {
    if (error instanceof SaslError) return error.failure;
    throw error;
  }
}

export function isToken(mechanism: Mechanism): boolean {
  return TOKEN_MECHANISMS.some((known) => known === mechanism);
}

type Exchange = (ask: Ask, initial: string | undefined) => Promise<Omit<Credentials, 'mechanism'>>;

const EXCHANGES: Record<Mechanism, Exchange> = {
  async PLAIN(ask, initial) {
    const [authorize, user, secret, ...rest] = decode(initial ?? (await ask(''))).split('\0');
    if (!user || secret === undefined || rest.length > 0) throw new SaslError('malformed');
    if (authorize && authorize !== user) throw new SaslError('malformed');
    return { user, secret };
  },
  async LOGIN(ask, initial) {
    const user = decode(initial ?? (await ask('Username:')));
    return { user, secret: decode(await ask('Password:')) };
  },
  async XOAUTH2(ask, initial) {
    return bearer(/^user=([^,]+)$/i, decode(initial ?? (await ask(''))));
  },
  async OAUTHBEARER(ask, initial) {
    const { user, secret } = bearer(/^n,a=([^,]+),$/, decode(initial ?? (await ask(''))));
    // RFC 5801 section 4: a comma and an equals sign in a name
    return { user: user.replaceAll('=2C', ',').replaceAll('=3D', '='), secret };
  },
};

/** Fields end with \x01, and so does the whole; the user is in the first, `form` says how. */
function bearer(form: RegExp, response: string): Omit<Credentials, 'mechanism'> {
  const [first = '', ...fields] = response.split('\x01');
  const [, user] = form.exec(first) ?? [];
  const [, secret] = fields.map((field) => /^auth=Bearer ([!-~]+)$/i.exec(field)).find((match) => match !== null) ?? [];
  if (!user || !secret || !response.endsWith('\x01\x01')) throw new SaslError('malformed');
  return { user, secret };
}

function decode(response: string): string {
  if (response === '*') throw new SaslError('cancelled');
  if (response === '=') return '';
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(response)) {
    throw new SaslError('malformed');
  }
  return Buffer.from(response, 'base64').toString('utf8');
}
