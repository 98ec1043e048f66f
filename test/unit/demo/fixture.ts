import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { type Certificates, createCertificates } from '../../../demo/certificates.ts';
import { type MailServer, startMailServer } from '../../../demo/mail-server/server.ts';

export const USER = 'ann@demo.test';
export const PASSWORD = 'geheim ünd "quoted"';
/** Some clients can't send a password that is not ASCII. */
export const BOB = 'bob@demo.test';
export const BOBS_PASSWORD = 'bobs own';
export const PLAIN = Buffer.from(`\0${USER}\0${PASSWORD}`).toString('base64');

/** A mail server for each test; a fault inside it fails the test. */
export function useMailServer(): { server: MailServer; certificates: Certificates } {
  const fixture = {} as { server: MailServer; certificates: Certificates };
  let directory = '';
  let tls: { cert: string; key: string };
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'postern-test-'));
    fixture.certificates = await createCertificates(directory);
    tls = await fixture.certificates.issue('localhost', { addresses: ['127.0.0.1'] });
  });
  beforeEach(async () => {
    fixture.server = await startMailServer({ accounts: { [USER]: PASSWORD, [BOB]: BOBS_PASSWORD }, tls });
  });
  afterEach(async () => {
    await fixture.server.close();
    expect(fixture.server.faults).toEqual([]);
  });
  afterAll(() => rm(directory, { recursive: true }));
  return fixture;
}
