// tsyringe, which @peculiar/x509 builds on, needs this first.
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as x509 from '@peculiar/x509';

export interface Certificate {
  /** PEM text. */
  cert: string;
  /** PEM text (PKCS #8). */
  key: string;
  certFile: string;
  keyFile: string;
}

export interface IssueOptions {
  /** DNS names (subjectAltName); without it the certificate's own name. */
  names?: string[];
  /** IP addresses (subjectAltName). */
  addresses?: string[];
  /** Valid until yesterday. */
  expired?: boolean;
  /** Signed by its own key, so that no CA vouches for it. */
  selfSigned?: boolean;
}

export interface Certificates {
  /** The CA's certificate: PEM text and file. */
  ca: string;
  caFile: string;
  /** Writes `<name>.pem` and `<name>.key` into the folder. The same name again replaces them. */
  issue(name: string, options?: IssueOptions): Promise<Certificate>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY = 24 * 60 * 60 * 1000;

interface Authority {
  keys: webcrypto.CryptoKeyPair;
  certificate: x509.X509Certificate;
}

/** A certificate authority that lives as long as the process and vouches for nothing but demos and tests. */
export async function createCertificates(directory: string): Promise<Certificates> {
  await mkdir(directory, { recursive: true });
  const authority = await createAuthority();
  const ca = authority.certificate.toString('pem');
  const caFile = path.join(directory, 'ca.pem');
  await writeFile(caFile, ca);
  return { ca, caFile, issue: (name, options = {}) => issue(directory, authority, name, options) };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function createAuthority(): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Postern demo CA',
    notBefore: new Date(Date.now() - 30 * DAY),
    notAfter: new Date(Date.now() + 30 * DAY),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { keys, certificate };
}

async function issue(directory: string, authority: Authority, name: string, options: IssueOptions) {
  const keys = await newKeys();
  const signer = options.selfSigned ? keys : authority.keys;
  const subject = `CN=${name}`;
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: options.selfSigned ? subject : authority.certificate.subject,
    ...validity(options),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    extensions: await serverExtensions(name, options, signer.publicKey),
  });
  return write(directory, name, certificate.toString('pem'), await privateKeyPem(keys.privateKey));
}

/** From the past on, so that a clock that runs slow does not matter. */
function validity(options: IssueOptions): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 10 * DAY), notAfter: new Date(now + (options.expired ? -DAY : 20 * DAY)) };
}

async function serverExtensions(
  name: string,
  options: IssueOptions,
  issuerKey: webcrypto.CryptoKey,
): Promise<x509.Extension[]> {
  const names = (options.names ?? [name]).map((value) => ({ type: 'dns' as const, value }));
  const addresses = (options.addresses ?? []).map((value) => ({ type: 'ip' as const, value }));
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    new x509.SubjectAlternativeNameExtension([...names, ...addresses]),
    await x509.AuthorityKeyIdentifierExtension.create(issuerKey),
  ];
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function write(directory: string, name: string, cert: string, key: string): Promise<Certificate> {
  const certFile = path.join(directory, `${name}.pem`);
  const keyFile = path.join(directory, `${name}.key`);
  await writeFile(certFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  return { cert, key, certFile, keyFile };
}
