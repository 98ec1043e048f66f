import { isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { hostPort } from '../config/address.ts';
import { Failure } from '../failure.ts';
import type { RelayTarget, Security } from '../relay-target.ts';
import { CLOSED, OTHER_NAME, tlsFailure } from './tls-failure.ts';
import { type Proof, proofOf, type TlsSession, TlsSessions } from './tls-sessions.ts';

export type TlsSecurity = Exclude<Security, { kind: 'none' }>;

/** TLS of version 1.2 or later to mail servers, with one set of trusted CAs and the sessions to resume. */
export class TlsClient {
  /** Made once: reading a bundle of 150 CAs takes longer than a handshake. */
  readonly #context: SecureContext;
  readonly #sessions = new TlsSessions();

  /** `ca`: PEM text of all trusted CAs. */
  constructor(ca: string) {
    this.#context = createSecureContext({ ca: [ca] }); // a list, for Node takes its own CAs where the text is empty
  }

  /**
   * The handshake over a connected socket with an 'error' listener of its own, which belongs to the result from then on. Rejects with a
   * Failure of code tls; the socket is then destroyed.
   */
  async secure(socket: Socket, target: RelayTarget, security: TlsSecurity, signal: AbortSignal): Promise<TLSSocket> {
    const key = sessionKey(target);
    const offered = this.#offer(key, security);
    const tls = connect({ ...this.#options(security), socket, ...(offered && { session: offered.session }) });
    tls.on('error', () => {}); // from its creation on, and for its whole life
    const accept = this.#followSessions(tls, key);
    try {
      await handshake(socket, tls, target, signal);
      accept(offered && tls.isSessionReused() ? offered : proofOf(tls.getPeerCertificate()));
      return tls;
    } catch (failure) {
      this.#sessions.drop(key); // it may have been the session that the server did not like
      tls.destroy();
      socket.destroy();
      throw failure;
    }
  }

  /** A resumed handshake brings no certificate, and Node then checks no name: it is checked here, against what the session is of. */
  #offer(key: string, { name, verify }: TlsSecurity): TlsSession | undefined {
    const kept = this.#sessions.get(key);
    return kept && verify && checkIdentity(name, kept.certificate) ? undefined : kept;
  }

  /**
   * No ALPN (RFC 7301): a server that knows other names than ours must refuse then, and hardly any mail server knows any. What it is to
   * prevent, a server of another protocol behind the same certificate (ALPACA, 2021), ends at the greeting or at the first answer here.
   */
  #options({ name, verify }: TlsSecurity): ConnectionOptions {
    return {
      secureContext: this.#context,
      host: name,
      ...(isIP(name) === 0 && { servername: name }), // SNI holds names only (RFC 6066 section 3)
      rejectUnauthorized: verify,
      checkServerIdentity: checkIdentity,
    };
  }

  /** In TLS 1.3 sessions come after the handshake, in 1.2 before its end: none is kept of a server that was not accepted. */
  #followSessions(tls: TLSSocket, key: string): (proof: Proof) => void {
    let early: Buffer | undefined;
    let accepted: Proof | undefined;
    const keep = (session: Buffer) => {
      if (accepted) this.#sessions.keep(key, { ...accepted, session });
      else early = session;
    };
    tls.on('session', keep);
    return (proof) => {
      accepted = proof;
      if (early) keep(early);
    };
  }
}

/** All that decides which server that is and how it was verified: a session of one is never shown to another. */
function sessionKey({ host, port, location, proxy, security }: RelayTarget): string {
  return JSON.stringify([host, port, location, proxy, security]);
}

function handshake(socket: Socket, tls: TLSSocket, target: RelayTarget, signal: AbortSignal): Promise<void> {
  const place = hostPort(target.host, target.port);
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => fail(codeOf(error), error);
    const onClose = () => fail(CLOSED);
    const onAbort = () => settle(() => reject(late(place, target.connectTimeoutMs)));
    const settle = (how: () => void) => {
      signal.removeEventListener('abort', onAbort);
      tls.off('error', onError).off('close', onClose);
      socket.off('end', onClose);
      how();
    };
    const fail = (code: string, cause?: unknown) => settle(() => reject(tlsFailure(place, code, cause)));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('end', onClose);
    tls.once('error', onError).once('close', onClose);
    tls.once('secureConnect', () => settle(resolve));
  });
}

/** As Envoy checks on direct routes, and RFC 9525 section 6.3: the common name counts for nothing. */
function checkIdentity(name: string, certificate: Proof['certificate']): Error | undefined {
  if (certificate.subjectaltname) return checkServerIdentity(name, certificate as PeerCertificate);
  return Object.assign(new Error('no subjectAltName'), { code: OTHER_NAME });
}

function late(place: string, ms: number): Failure {
  return new Failure('tls', `${place} did not finish the TLS handshake within ${ms} ms`);
}

function codeOf({ code }: NodeJS.ErrnoException): string {
  return code !== undefined && /^\w{1,60}$/.test(code) ? code : 'unknown error';
}
