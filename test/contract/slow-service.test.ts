// A cold start with a Destination service that answers slowly, through Envoy: longer than filter and helper once waited for each other.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { startDestinationService } from '../../demo/destination-service/service.ts';
import { startMailServer } from '../../demo/mail-server/server.ts';
import { begin, sendMail } from '../live/apps.ts';
import { freePorts } from '../live/daemon.ts';
import { Wire } from '../live/wire.ts';

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const USER = 'user@slow.test';

it('the first mail goes out though each answer takes 4.5 seconds, and the next one without a wait', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'slow-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const tls = await (await createCertificates(dir)).issue('localhost');
  const server = await startMailServer({ accounts: { [USER]: 'p4ssw0rd' }, tls });
  cleanups.push(() => server.close());
  const destination = {
    Name: 'office',
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.user': USER,
    'mail.password': 'p4ssw0rd',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': `${server.ports.plain.smtp}`,
    'mail.smtp.starttls.enable': 'false',
  };
  const service = await startDestinationService({
    accounts: { main: { subaccount: { destinations: [destination] } } },
  });
  cleanups.push(() => service.close());
  service.faults.token = { kind: 'slow', ms: 4_500 };
  service.faults.destination = { kind: 'slow', ms: 4_500 };
  const [port = 0] = await freePorts(1);
  await writeFile(join(dir, 'binding.json'), JSON.stringify(service.binding));
  const main = {
    destinations: { services: [{ name: 'main', binding: './binding.json' }] },
    grants: { directory: './grants' },
    listeners: [{ destination: 'office', protocol: 'smtp', address: `127.0.0.1:${port}` }],
  };
  const configFile = join(dir, 'postern.yaml');
  await writeFile(configFile, JSON.stringify(main));
  const postern = await up({ configFile, workers: 1, logFile: join(dir, 'log') });
  cleanups.push(() => postern.stop());
  for (const [least, most] of [
    [8_500, 20_000],
    [0, 2_000],
  ] as const) {
    const start = performance.now();
    const wire = await Wire.open(port);
    await begin(wire, 'smtp', 'silent');
    const waited = performance.now() - start;
    await sendMail(wire, 'silent', USER, 'Subject: slow\r\n\r\nhello\r\n');
    wire.close();
    expect(waited).toBeGreaterThan(least);
    expect(waited).toBeLessThan(most);
  }
  expect(server.logins).toHaveLength(2);
}, 90_000);
