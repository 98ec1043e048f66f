import { Failure } from '../failure.ts';

/** SAP's authentication method with a token (facts: "Using the TCP Protocol for Cloud Applications"). */
export const METHOD_JWT = 0x80;
export const METHOD_NONE = 0x00;
const METHOD_UNACCEPTABLE = 0xff;

export const ATYP_IPV4 = 1;
export const ATYP_DOMAIN = 3;
const ATYP_IPV6 = 4;

/** The reply codes that SAP documents, in SAP's meaning, which differs from RFC 1928's in 3 and 5. */
const REPLIES: Record<number, { text: string; retry: boolean }> = {
  1: { text: 'general failure, or the mail server closed the connection (SOCKS reply 1)', retry: true },
  2: { text: 'the Cloud Connector does not expose this host and port (SOCKS reply 2)', retry: false },
  3: { text: 'no Cloud Connector is connected for this subaccount and location id (SOCKS reply 3)', retry: true },
  4: { text: 'the Cloud Connector cannot reach the mail server (SOCKS reply 4)', retry: true },
  5: { text: 'the Connectivity Proxy refused the authentication (SOCKS reply 5)', retry: false },
  7: { text: 'the Connectivity Proxy does not support the command CONNECT (SOCKS reply 7)', retry: false },
  8: { text: 'the Connectivity Proxy does not support this type of address (SOCKS reply 8)', retry: false },
};

/** The token was not accepted: another one may be. */
export class AuthenticationRefused extends Failure {}

type Phase = 'method' | 'authentication' | 'reply' | 'done';

/** What the login consists of, as far as it matters for what the proxy may answer. */
export interface Offer {
  /** A token is to be sent: method 0x00 would drop it. */
  token: boolean;
  /** A location id is to be sent, which only method 0x80 carries. */
  location: boolean;
}

/** The proxy's side of a SOCKS5 handshake (RFC 1928, method 0x80) without a socket. */
export class SocksAnswers {
  phase: Phase = 'method';
  /** What follows the reply: the mail server's first bytes. */
  rest: Buffer = Buffer.alloc(0);
  readonly #offer: Offer;

  constructor(offer: Offer) {
    this.#offer = offer;
  }

  /** Takes the next bytes from the proxy. Returns the phase that they led to, whose request is due then. Throws a Failure. */
  push(chunk: Buffer): Phase | undefined {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const before = this.phase;
    if (before === 'method') this.#method();
    else if (before === 'authentication') this.#authentication();
    else this.#reply();
    return this.phase === before ? undefined : this.phase;
  }

  #method(): void {
    const [version, method] = this.rest;
    if (version !== undefined && version !== 5) throw malformed('it does not speak SOCKS5');
    if (method === undefined) return;
    if (method === METHOD_UNACCEPTABLE) throw refused('accepts none of the authentication methods offered');
    if (method === METHOD_NONE) this.#withoutAuthentication();
    else if (method !== METHOD_JWT) throw malformed('it chose a method that was not offered');
    this.#next(2, method === METHOD_JWT ? 'authentication' : 'reply');
  }

  #withoutAuthentication(): void {
    if (this.#offer.token) throw refused('takes no token, but one is configured');
    if (this.#offer.location) throw refused('takes no authentication, so a location id cannot be sent to it');
  }

  #authentication(): void {
    const [version, status] = this.rest;
    if (version !== undefined && version !== 1) throw malformed('unknown version of the authentication');
    if (status === undefined) return;
    if (status !== 0) {
      throw new AuthenticationRefused('socks', 'the Connectivity Proxy refused the token', { retry: false });
    }
    this.#next(2, 'reply');
  }

  #reply(): void {
    const [version, code, , type, first] = this.rest;
    if (version !== undefined && version !== 5) throw malformed('the reply is not SOCKS5');
    if (code !== undefined && code !== 0) throw replyFailure(code);
    if (type === undefined || first === undefined) return;
    const addresses = { [ATYP_IPV4]: 4, [ATYP_DOMAIN]: 1 + first, [ATYP_IPV6]: 16 }[type];
    if (addresses === undefined) throw malformed('the reply has an unknown type of address');
    const length = 4 + addresses + 2;
    if (this.rest.length < length) return;
    this.rest = this.rest.subarray(length);
    this.phase = 'done';
  }

  /** An answer ends where it ends: more bytes would be an answer to a request that is not yet sent. */
  #next(length: number, phase: Phase): void {
    if (this.rest.length > length) throw malformed('it answered before it was asked');
    this.rest = Buffer.alloc(0);
    this.phase = phase;
  }
}

function replyFailure(code: number): Failure {
  const known = REPLIES[code] ?? {
    text: `undocumented answer of the Connectivity Proxy (SOCKS reply ${code})`,
    retry: true,
  };
  const Kind = code === 5 ? AuthenticationRefused : Failure;
  return new Kind('socks', known.text, { retry: known.retry });
}

function malformed(what: string): Failure {
  return new Failure('socks', `malformed answer of the Connectivity Proxy: ${what}`);
}

function refused(what: string): Failure {
  return new Failure('socks', `the Connectivity Proxy ${what}`, { retry: false });
}
