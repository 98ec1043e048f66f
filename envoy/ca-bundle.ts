import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';

/** Where distributions keep the system's CAs: Debian/Ubuntu/Alpine, Fedora/RHEL, old RHEL, openSUSE, Alpine/BSD/macOS. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Writes one PEM file with the system's CAs (Node's own where the system has none) and the additional ones.
 * @param additionalCAs PEM files; anything but their certificates, such as private keys, is left out
 * @throws Error that names the file which can't be read, holds no certificate or a broken one
 */
export function writeCaBundle(target: string, additionalCAs: string[], systemBundles = SYSTEM_BUNDLES): void {
  const additional = additionalCAs.flatMap(readCertificates);
  writeFileSync(target, `${[systemCas(systemBundles), ...additional].join('\n')}\n`, { mode: 0o600 });
}

function systemCas(bundles: string[]): string {
  for (const file of bundles) {
    const pem = readIfThere(file);
    if (pem?.includes('-----BEGIN CERTIFICATE-----')) return pem;
  }
  return rootCertificates.join('\n');
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function readCertificates(file: string): string[] {
  const certificates = readFileSync(file, 'utf8').match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new Error(`${file} holds no PEM certificate`);
  for (const certificate of certificates) checkCertificate(file, certificate);
  return certificates;
}

/** Envoy refuses the whole bundle for one bad certificate, and does not say which. */
function checkCertificate(file: string, pem: string): void {
  try {
    new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`${file} holds a certificate that can't be read: ${(cause as Error).message}`, { cause });
  }
}
