import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Certificates, createCertificates, type IssueOptions } from '../../../demo/certificates.ts';

let directory: string;
let certificates: Certificates;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'postern-test-'));
  certificates = await createCertificates(path.join(directory, 'made', 'on', 'demand'));
});
afterAll(() => rm(directory, { recursive: true }));

/** How a client that asks for `servername` (or dials an address without one) likes the certificate. */
async function verdict(options: IssueOptions, servername?: string): Promise<string> {
  const server = createServer(await certificates.issue('mail.test', options)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ca: certificates.ca, ...(servername && { servername }) });
  try {
    await once(client, 'secureConnect');
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  } finally {
    client.destroy();
    server.close();
  }
}

test.each<[string, IssueOptions, string | undefined, string]>([
  ['its own name', {}, 'mail.test', 'ok'],
  ['another of its names', { names: ['a.test', 'b.test'] }, 'b.test', 'ok'],
  ['another name', { names: ['a.test'] }, 'mail.test', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['its address', { addresses: ['127.0.0.1', '::1'] }, undefined, 'ok'],
  ['another address', { addresses: ['127.0.0.2'] }, undefined, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['expired', { expired: true }, 'mail.test', 'CERT_HAS_EXPIRED'],
  ['self-signed', { selfSigned: true }, 'mail.test', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
])('%s', async (_, options, servername, wanted) => {
  expect(await verdict(options, servername)).toBe(wanted);
});

test('the files hold what the fields say, and the key is private', async () => {
  const { cert, key, certFile, keyFile } = await certificates.issue('mail.test');
  expect(await readFile(certFile, 'utf8')).toBe(cert);
  expect(await readFile(keyFile, 'utf8')).toBe(key);
  expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
  expect(await readFile(certificates.caFile, 'utf8')).toBe(certificates.ca);
});
