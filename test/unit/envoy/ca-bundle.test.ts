import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeCaBundle } from '../../../envoy/ca-bundle.ts';

const [ONE = '', TWO = ''] = rootCertificates;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-ca-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function bundle(additional: string[], system: string[]): string {
  const target = join(folder, 'bundle.pem');
  writeCaBundle(target, additional, system);
  return readFileSync(target, 'utf8');
}

function subjects(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((certificate) => new X509Certificate(certificate).fingerprint256);
}

test('the first system bundle that is there, and the additional ones', () => {
  const pem = bundle([file('two.pem', TWO)], [join(folder, 'missing'), file('one.pem', ONE), file('again.pem', TWO)]);
  expect(subjects(pem)).toEqual(subjects(`${ONE}\n${TWO}`));
});

test('where the system has none, those that Node brings', () => {
  expect(subjects(bundle([], [])).length).toBe(rootCertificates.length);
});

test('a private key beside a certificate is left out', () => {
  const key = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n';
  const pem = bundle([file('both.pem', key + TWO)], [file('one.pem', ONE)]);
  expect(pem).not.toContain('PRIVATE KEY');
  expect(subjects(pem)).toEqual(subjects(`${ONE}\n${TWO}`));
});

test.each([
  ['no certificate', 'hello', /holds no PEM certificate/],
  ['a broken one', '-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----', /can't be read/],
])('a file with %s is refused by name', (_what, text, message) => {
  const bad = file('bad.pem', text);
  expect(() => bundle([bad], [])).toThrow(message);
  expect(() => bundle([bad], [])).toThrow(bad);
});
