import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readBase } from '../../../sidecar-auth/kubernetes/operator/base.ts';
import { KeptLookUp } from '../../../sidecar-auth/kubernetes/operator/kept-look-up.ts';
import { type LookUp, lookUpBy } from '../../../sidecar-auth/kubernetes/operator/look-up.ts';
import { ResourceMistake } from '../../../sidecar-auth/kubernetes/resource.ts';
import { destination } from './operator-world.ts';

/** The Destination service and its XSUAA in one. */
let server: Server;
let folder: string;
let lookUp: LookUp;
let configuration: object | undefined;
let asked: string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.method === 'POST') {
      response.end(JSON.stringify({ access_token: 'token', expires_in: 3600, token_type: 'bearer' }));
      return;
    }
    asked.push(request.url ?? '');
    if (!configuration) {
      response.statusCode = 404;
      response.end(JSON.stringify({ ErrorMessage: 'Configuration with the specified name was not found' }));
      return;
    }
    response.end(JSON.stringify({ owner: {}, destinationConfiguration: configuration }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = mkdtempSync(join(tmpdir(), 'postern-look-up-'));
  writeFileSync(
    join(folder, 'binding.json'),
    JSON.stringify({ clientid: 'id', clientsecret: 'secret', url, uri: url }),
  );
  writeFileSync(join(folder, 'base.yaml'), 'destinations: { services: [{ name: main, binding: ./binding.json }] }\n');
  const found = lookUpBy(readBase(join(folder, 'base.yaml')), { warn: () => {} });
  if (!found) throw new Error('no service');
  lookUp = found;
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

beforeEach(() => {
  asked = [];
  configuration = { Type: 'MAIL', ProxyType: 'Internet', 'mail.transport.protocol': 'imap4s' };
});

const resource = () =>
  destination('office', { spec: { destinationRef: { name: 'office', level: 'subaccount' }, protocol: undefined } });

const reasonOf = (answer: unknown) => (answer instanceof ResourceMistake ? answer.reason : answer);

test('says what the destination speaks', async () => {
  expect(await lookUp(resource())).toBe('imaps');
  expect(asked[0]).toContain('office@subaccount');
});

test.each([
  [undefined, 'NotFound'],
  [{ Type: 'HTTP', ProxyType: 'Internet' }, 'TypeNotSupported'],
  [{ Type: 'MAIL', ProxyType: 'PrivateLink', 'mail.transport.protocol': 'smtp' }, 'ProxyTypeNotSupported'],
  [{ Type: 'MAIL', ProxyType: 'Internet', 'mail.transport.protocol': 'nntp' }, 'TypeNotSupported'],
])('says why %j can not be', async (properties, reason) => {
  configuration = properties;
  expect(reasonOf(await lookUp(resource()))).toBe(`ConfigurationError-ReferencedDestination-${reason}`);
});

test('does not ask again for a while, but for a changed resource', async () => {
  const kept = new KeptLookUp(lookUp);
  const office = resource();
  await kept.answer(office);
  await kept.answer(office);
  expect(asked).toHaveLength(1);
  office.spec.service = { port: 2525 };
  await kept.answer(office);
  expect(asked).toHaveLength(2);
});

test('goes on with what the status says while the service is down', async () => {
  const kept = new KeptLookUp(() => Promise.reject(new Error('down')));
  await expect(kept.answer(resource())).rejects.toThrow('down');
  expect(await kept.answer({ ...resource(), status: { protocol: 'imap', servicePort: 993 } })).toBe('imaps');
  expect(await kept.answer({ ...resource(), status: { protocol: 'imap', servicePort: 1143 } })).toBe('imap');
});

test('an outage is no answer', async () => {
  writeFileSync(
    join(folder, 'down.json'),
    JSON.stringify({ clientid: 'id', clientsecret: 'secret', url: 'http://127.0.0.1:9', uri: 'http://127.0.0.1:9' }),
  );
  writeFileSync(join(folder, 'down.yaml'), 'destinations: { services: [{ name: main, binding: ./down.json }] }\n');
  const down = lookUpBy(readBase(join(folder, 'down.yaml')), { warn: () => {} });
  await expect(down?.(resource())).rejects.toThrow();
});

test('without a Destination service there is nobody to ask', () => {
  writeFileSync(join(folder, 'none.yaml'), 'tls: { additionalCAs: [] }\n');
  expect(lookUpBy(readBase(join(folder, 'none.yaml')), { warn: () => {} })).toBeUndefined();
});
