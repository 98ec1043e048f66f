import { Failure } from '../failure.ts';

/** In our own words: a certificate is the server's text too, and nobody has vouched for it. */
const REASONS: Record<string, string> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the CA of its certificate is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the CA of its certificate is not known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the CA of its certificate is not known',
  UNABLE_TO_GET_ISSUER_CERT: 'the CA of its certificate is not known',
  CERT_SIGNATURE_FAILURE: 'its certificate has a false signature',
  INVALID_PURPOSE: 'its certificate is not one for servers',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks plain text where TLS is expected',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it speaks plain text where TLS is expected',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it speaks no TLS of version 1.2 or later',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it speaks no TLS of version 1.2 or later',
  ECONNRESET: 'it closed the connection during the handshake',
  EPIPE: 'it closed the connection during the handshake',
};

export const CLOSED = 'ECONNRESET';
export const OTHER_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID';

/** `code`: of Node's error. */
export function tlsFailure(place: string, code: string, cause?: unknown): Failure {
  const reason = REASONS[code] ?? 'the handshake failed';
  return new Failure('tls', `no trusted TLS connection to ${place}: ${reason} (${code})`, { cause });
}
