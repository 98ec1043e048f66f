import type { Connection } from './connection.ts';
import { SASL_LINE } from './limits.ts';

export const MECHANISMS = ['PLAIN', 'LOGIN'] as const;
type Mechanism = (typeof MECHANISMS)[number];

export interface Credentials {
  mechanism: Mechanism;
  user: string;
  password: string;
}

export type SaslFailure = 'unknown-mechanism' | 'cancelled' | 'malformed';

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
 * The server's side of SASL PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).
 * @param argument what follows AUTH or AUTHENTICATE: mechanism and perhaps an initial response (`=` is an empty one)
 * @param prefix what a challenge starts with: `334 ` in SMTP, `+ ` in IMAP and POP3
 */
export async function authenticate(
  connection: Connection,
  argument: string,
  prefix: string,
): Promise<Credentials | SaslFailure> {
  const [name = '', initial] = argument.split(' ');
  const mechanism = MECHANISMS.find((known) => known === name.toUpperCase());
  if (!mechanism) return 'unknown-mechanism';
  const ask: Ask = async (challenge) => {
    await connection.send(`${prefix}${Buffer.from(challenge).toString('base64')}\r\n`);
    const line = await connection.line(SASL_LINE);
    if (line.tooLong) throw new SaslError('malformed');
    return line.text;
  };
  try {
    return { mechanism, ...(await EXCHANGES[mechanism](ask, initial)) };
  } catch (error) {
    if (error instanceof SaslError) return error.failure;
    throw error;
  }
}

const EXCHANGES: Record<Mechanism, (ask: Ask, initial: string | undefined) => Promise<Omit<Credentials, 'mechanism'>>> =
  {
    async PLAIN(ask, initial) {
      const [authorize, user, password, ...rest] = decode(initial ?? (await ask(''))).split('\0');
      if (!user || password === undefined || rest.length > 0) throw new SaslError('malformed');
      if (authorize && authorize !== user) throw new SaslError('malformed');
      return { user, password };
    },
    async LOGIN(ask, initial) {
      const user = decode(initial ?? (await ask('Username:')));
      return { user, password: decode(await ask('Password:')) };
    },
  };

function decode(response: string): string {
  if (response === '*') throw new SaslError('cancelled');
  if (response === '=') return '';
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(response)) {
    throw new SaslError('malformed');
  }
  return Buffer.from(response, 'base64').toString('utf8');
}
