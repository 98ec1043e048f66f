import { X509Certificate } from 'node:crypto';
import { readPemText } from './document.ts';
import type { Section } from './section.ts';

const BEGIN = /-----BEGIN CERTIFICATE-----/g;
/** What envoy/ca-bundle.ts takes from these files. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Key `tls` of FILE: the PEM files, absolute. */
export function readTls(section: Section | undefined): string[] {
  if (!section) return [];
  const paths = section.list('additionalCAs').map((value, index) => readCa(section, value, `additionalCAs[${index}]`));
  section.finish();
  return paths.filter((path) => path !== undefined);
}

function readCa(section: Section, value: unknown, key: string): string | undefined {
  if (typeof value !== 'string' || value === '') return section.mistake(key, 'must be the path of a PEM file');
  const path = section.absolute(value);
  const text = readPemText(path, (what) => section.mistake(key, what));
  const mistake = text === undefined ? undefined : caMistake(text);
  return mistake === undefined ? path : section.mistake(key, mistake);
}

/** Envoy refuses the whole bundle for one bad certificate. */
function caMistake(text: string): string | undefined {
  const certificates = text.match(CERTIFICATE) ?? [];
  const begun = text.match(BEGIN)?.length ?? 0;
  if (begun === 0) return 'must be a PEM file with certificates';
  const broken = certificates.findIndex((pem) => !isCertificate(pem));
  if (broken >= 0) return `must hold valid certificates only; number ${broken + 1} of its ${begun} is broken`;
  return certificates.length === begun ? undefined : 'must hold valid certificates only; one of them has no proper end';
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}
