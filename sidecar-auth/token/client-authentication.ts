import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import * as oauth from 'oauth4webapi';
import type { ClientAuthentication } from '../destination/token-service.ts';
import { Failure } from '../failure.ts';

/**
 * The library's form of it. For a secret that may go in the body or the header there are two, in the order in which they are tried: the body
 * first, as SAP's default is and because XSUAA does not decode the form encoding that RFC 6749 section 2.3.1 demands in the header.
 * @param endpoint the audience of an assertion, unless another is configured: what Microsoft demands, and RFC 7523 section 3 names
 */
export async function clientAuthentications(way: ClientAuthentication, endpoint: string): Promise<oauth.ClientAuth[]> {
  switch (way.kind) {
    case 'none':
      return [oauth.None()];
    case 'tls':
      return [oauth.TlsClientAuth()];
    case 'basic':
      return [basic(way.user, way.password)];
    case 'secret':
      return ofSecret(way);
    case 'private_key_jwt':
      return [await assertion(way, endpoint)];
    case 'destination_service':
      throw new Failure('token', 'only the Destination service has what the token service asks for', { retry: false });
  }
}

function ofSecret({ secret, in: place }: ClientAuthentication & { kind: 'secret' }): oauth.ClientAuth[] {
  const body = oauth.ClientSecretPost(secret);
  const header = oauth.ClientSecretBasic(secret);
  if (place === 'either') return [body, header];
  return [place === 'body' ? body : header];
}

function basic(user: string, password: string): oauth.ClientAuth {
  return (_server, _client, _body, headers) => {
    headers.set('authorization', `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`);
  };
}

type Assertion = ClientAuthentication & { kind: 'private_key_jwt' };

async function assertion(
  { key, keyId, certificate, audience }: Assertion,
  endpoint: string,
): Promise<oauth.ClientAuth> {
  const prints = certificate === undefined ? {} : thumbprints(certificate);
  return oauth.PrivateKeyJwt(
    { key: await importKey(createPrivateKey(key)), ...(keyId !== undefined && { kid: keyId }) },
    {
      [oauth.modifyAssertion]: (header, payload) => {
        Object.assign(header, prints);
        payload.aud = audience ?? endpoint;
      },
    },
  );
}

/** RFC 7515 sections 4.1.7 and 4.1.8: Microsoft finds the certificate by them. */
function thumbprints(pem: string): Record<string, string> {
  const { raw } = new X509Certificate(pem);
  const print = (hash: string) => createHash(hash).update(raw).digest('base64url');
  return { x5t: print('sha1'), 'x5t#S256': print('sha256') };
}

const CURVES: Record<string, string> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

/** RS256, ES256, ES384, ES512 or EdDSA: what follows from the key. */
async function importKey(key: KeyObject): Promise<oauth.CryptoKey> {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const algorithm =
    type === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      : type === 'ec'
        ? { name: 'ECDSA', namedCurve: CURVES[details?.namedCurve ?? ''] ?? '' }
        : { name: 'Ed25519' };
  try {
    return await crypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), algorithm, false, [
      'sign',
    ]);
  } catch {
    throw new Failure('token', 'clientAssertion.keyFile must hold an RSA, EC or Ed25519 key', { retry: false });
  }
}
