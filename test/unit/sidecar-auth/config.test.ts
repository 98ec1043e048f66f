import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isLoopback } from '../../../sidecar-auth/config/address.ts';
import { selfSigned } from '../token/certificate.ts';
import { configFolder, FILE, load, MAIL, mistakesOf } from './files.ts';

const listener = (more: object, first: object = {}) => ({
  'postern.yaml': {
    ...FILE,
    listeners: [{ destination: 'office-mail', address: '127.0.0.1:1587', ...first, ...more }],
  },
});
const BINDING = { 'b/clientid': 'c', 'b/clientsecret': 'geheim', 'b/url': 'https://a.example' };
const ONPREMISE = {
  ...MAIL,
  Name: 'plant',
  ProxyType: 'OnPremise',
  'mail.transport.protocol': 'smtp',
  'mail.smtp.host': 'virtual',
};

it('reads the example of the documentation', async () => {
  const config = load({
    'postern.yaml': `
destinations: { directory: ./destinations }   # one file per destination
connectivity: { host: 127.0.0.1, port: 20004, token: none }
tls: { additionalCAs: [./ca.pem] }
listeners:
  - { destination: office-mail, address: 127.0.0.1:1587 }
  - { destination: office-mail, address: "[::1]:1143", app: { user: crm, passwordFile: ./crm.pass } }
  - { destination: office-mail, address: ./pop3.sock, mode: "0660", maxConnections: 7 }
`,
    'ca.pem': (await selfSigned('ca')).certificate,
    'crm.pass': 'wort\n',
  });
  const [tcp, tcp6, unix] = config.listeners;
  expect(tcp).toMatchObject({
    address: { host: '127.0.0.1', port: 1587 },
    maxConnections: 10_000,
    maxConnectionsSet: false,
  });
  expect(tcp6).toMatchObject({ address: { host: '::1', port: 1143 }, app: { user: 'crm', password: 'wort' } });
  expect(unix).toMatchObject({ address: { mode: 0o660 }, maxConnections: 7, maxConnectionsSet: true });
  expect(unix?.address).toHaveProperty('path', join(config.file, '..', 'pop3.sock'));
  expect(config.connectivity).toEqual({ host: '127.0.0.1', port: 20004, token: { kind: 'none' } });
  expect(config.loginTimeout).toBe(30);
  expect(config.tls.additionalCAs).toEqual([join(config.file, '..', 'ca.pem')]);
});

it('takes a token from a file or a binding, relative to FILE', () => {
  const connectivity = (token: object) =>
    load({ 'postern.yaml': { ...FILE, connectivity: { host: 'cp', token } }, token: 't' });
  const file = connectivity({ file: 'token' });
  expect(file.connectivity?.token).toEqual({ kind: 'file', file: join(file.file, '..', 'token') });
  const binding = load({
    'postern.yaml': { ...FILE, connectivity: { host: 'cp', token: { binding: './b' } } },
    ...BINDING,
  });
  expect(binding.connectivity?.token).toEqual({ kind: 'binding', path: join(binding.file, '..', 'b') });
  // Found when it is needed.
  expect(connectivity({ binding: 'by-name' }).connectivity?.token).toEqual({ kind: 'binding', path: 'by-name' });
});

it('reports all mistakes at once, those of destinations too', () => {
  const mistakes = mistakesOf({
    'postern.yaml': {
      ...FILE,
      loginTimeout: 601,
      listener: [],
      listeners: [
        { destination: 'office-mail', address: '127.0.0.1:0' },
        { destination: 'office-mail', address: '127.0.0.1:1', colour: 'red' },
      ],
    },
    'destinations/b.yaml': { ...MAIL, Name: 'b', Type: 'HTTP' },
  });
  expect(mistakes).toEqual([
    'postern.yaml listeners[0].address: its port must be a number from 1 to 65535',
    expect.stringMatching(
      /^postern.yaml listeners\[1\].colour: is not known here; allowed are destination, address, mode,/,
    ),
    'postern.yaml loginTimeout: must be a whole number from 1 to 600',
    expect.stringMatching(/^postern.yaml listener: is not known here; allowed are destinations, /),
    'destinations/b.yaml Type: must be one of MAIL',
  ]);
});

it.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['::ffff:127.0.0.1', true], // the IPv4 address in IPv6 clothes
  ['::ffff:10.0.0.1', false],
  ['10.0.0.1', false],
])('%s is loopback: %s', (host, expected) => expect(isLoopback(host)).toBe(expected));

it.each(['0.0.0.0:1587', '[::]:1587', '10.1.1.1:1587', '[2001:db8::1]:1587'])('%s needs app or open', (address) => {
  expect(mistakesOf(listener({ address }))).toEqual([
    expect.stringContaining('listeners[0].address: is not a loopback address'),
  ]);
  expect(mistakesOf(listener({ address, open: false }))).toHaveLength(1);
  expect(mistakesOf(listener({ address, open: true }))).toEqual([]);
  expect(mistakesOf(listener({ address, app: { user: 'a', password: 'b' } }))).toEqual([]);
});

it.each([
  ['app beside preauth', { app: { user: 'a', password: 'b' }, greeting: 'preauth' }, 'greeting'],
  ['preauth for SMTP', { greeting: 'preauth' }, 'greeting'],
  ['another greeting', { greeting: 'hello' }, 'greeting'],
  ['app without user', { app: { password: 'b' } }, 'app.user'],
  ['app without password', { app: { user: 'b' } }, 'app.password'],
  ['both passwords', { app: { user: 'b', password: 'c', passwordFile: 'd' } }, 'app.passwordFile'],
  ['password file missing', { app: { user: 'b', passwordFile: 'd' } }, 'app.passwordFile'],
  ['app is a text', { app: 'yes' }, 'app'],
  ['mode on TCP', { mode: '0660' }, 'mode'],
  ['mode not octal', { address: './a.sock', mode: '0680' }, 'mode'],
  ['mode that Envoy takes as unset', { address: './a.sock', mode: '0000' }, 'mode'],
  ['mode without its owner', { address: './a.sock', mode: '0066' }, 'mode'],
  ['mode that its owner may only read', { address: './a.sock', mode: '0444' }, 'mode'],
  ['an address with a zone', { address: '[fe80::1%lo]:99', open: true }, 'address'],
  ['IPv4 in IPv6', { address: '[::ffff:127.0.0.1]:99' }, 'address'],
  ['name in place of an address', { address: 'localhost:1587' }, 'address'],
  ['no port', { address: '127.0.0.1' }, 'address'],
  ['port too large', { address: '127.0.0.1:65536' }, 'address'],
  ['path too long', { address: `./${'x'.repeat(108)}` }, 'address'],
  ['folder of the socket missing', { address: './none/a.sock' }, 'address'],
  ['no connections', { maxConnections: 0 }, 'maxConnections'],
  ['unknown destination', { destination: 'other' }, 'destination'],
])('a listener: %s', (_, more, key) => {
  expect(mistakesOf(listener(more)).map((line) => line.split(': ')[0])).toContain(`postern.yaml listeners[0].${key}`);
});

it('accepts the twins', () => {
  for (const mode of ['0660', '600', '0777']) expect(mistakesOf(listener({ address: './a.sock', mode }))).toEqual([]);
  expect(mistakesOf(listener({ address: '[fe80::1]:99', open: true }))).toEqual([]);
  expect(mistakesOf(listener({ address: '127.0.0.1:65535', maxConnections: 1 }))).toEqual([]);
  const imap = { ...MAIL, 'mail.transport.protocol': 'imaps', 'mail.imaps.host': 'mail.example.com' };
  expect(mistakesOf({ ...listener({ greeting: 'preauth' }), 'destinations/mail.json': imap })).toEqual([]);
});

it('counts the octets of a socket path as resolved: 107 pass, 108 do not', () => {
  const base = `${configFolder({})}/`;
  const path = (length: number) => base + 'x'.repeat(length - base.length);
  expect(mistakesOf(listener({ address: path(107) }))).toEqual([]);
  expect(mistakesOf(listener({ address: path(108) }))).toHaveLength(1);
});

it('refuses two listeners on one address, however it is written', () => {
  const two = (a: string, b: string) =>
    mistakesOf({
      'postern.yaml': { ...FILE, listeners: [a, b].map((address) => ({ destination: 'office-mail', address })) },
    });
  expect(two('[::1]:99', '[0:0:0:0:0:0:0:1]:99')).toEqual([
    'postern.yaml listeners[1].address: [::1]:99 is taken by listeners[0]',
  ]);
  expect(two('./a.sock', './b/../a.sock')).toHaveLength(1);
  expect(two('127.0.0.1:99', '127.0.0.2:99')).toEqual([]);
});

it('needs connectivity where a destination is OnPremise', () => {
  const files = { 'destinations/plant.json': ONPREMISE };
  expect(mistakesOf(files)).toEqual([expect.stringMatching(/^postern.yaml connectivity: is missing, but "plant"/)]);
  expect(mistakesOf({ ...files, 'postern.yaml': { ...FILE, connectivity: { host: 'cp', token: 'none' } } })).toEqual(
    [],
  );
});

it.each([
  ['no token', {}],
  ['another word', { token: 'some' }],
  ['file and binding', { token: { file: '.', binding: '.' } }],
  ['file missing', { token: { file: './nowhere' } }],
])('connectivity: %s', (_, more) => {
  const mistakes = mistakesOf({ 'postern.yaml': { ...FILE, connectivity: { host: 'cp', ...more } } });
  expect(mistakes).toEqual([expect.stringMatching(/^postern.yaml connectivity.token(.file)?: /)]);
});

it('refuses two destinations of one name', () => {
  expect(mistakesOf({ 'destinations/second.yaml': MAIL })).toEqual([
    expect.stringMatching(/^destinations\/second.yaml Name: "office-mail" is also the name of .*mail.json$/),
  ]);
});

it('reports broken YAML by place, without quoting the file', () => {
  const mistakes = mistakesOf({ 'destinations/mail.json': '{"mail.password": "geheim"\n"x": geheim: }' });
  expect(mistakes[0]).toMatch(
    /^destinations\/mail.json : is not valid YAML or JSON \([A-Z_]+\) at line \d+, column \d+$/,
  );
  expect(mistakes.join()).not.toContain('geheim');
});

it.each([
  ['FILE is a list', '- a'],
  ['FILE is empty', ''],
  ['two documents', 'a: b\n---\nc: d\n'],
])('%s', (_, text) => {
  expect(mistakesOf({ 'postern.yaml': text })).not.toEqual([]);
});

it('reports a CA file without certificates, and a missing folder of destinations', () => {
  expect(mistakesOf({ 'postern.yaml': { ...FILE, tls: { additionalCAs: ['./ca.pem'] } }, 'ca.pem': 'no' })).toEqual([
    'postern.yaml tls.additionalCAs[0]: must be a PEM file with certificates',
  ]);
  expect(mistakesOf({ 'postern.yaml': { ...FILE, destinations: { directory: './none' } } })).toEqual([
    expect.stringMatching(/^postern.yaml destinations.directory: .*ENOENT/),
  ]);
});

it('does not call a destination unknown that is only broken', () => {
  expect(mistakesOf({ 'destinations/mail.json': { ...MAIL, 'mail.smtps.port': 'x' } })).toEqual([
    'destinations/mail.json mail.smtps.port: must be a whole number from 1 to 65535',
  ]);
});

it('says which IPv4 address to write', () => {
  expect(mistakesOf(listener({ address: '[::ffff:10.0.0.255]:99' }))).toEqual([
    'postern.yaml listeners[0].address: must not be an IPv4 address in an IPv6 one: write 10.0.0.255:99',
  ]);
});

it('needs a listener', () => {
  expect(mistakesOf({ 'postern.yaml': { ...FILE, listeners: [] } })).toEqual([
    'postern.yaml listeners: must have at least one listener',
  ]);
});

it('compares FILE with the destinations also where there are other mistakes', () => {
  const listeners = [
    { destination: 'office-mail', address: '127.0.0.1:0', greeting: 'preauth' },
    { destination: 'other', address: '127.0.0.1:2', colour: 'red' },
  ];
  const broken = { ...ONPREMISE, 'mail.smtp.port': 'x' };
  const files = { 'destinations/plant.json': broken, 'destinations/second.json': { ...ONPREMISE, Type: 'x' } };
  const found = mistakesOf({ 'postern.yaml': { ...FILE, loginTimeout: 0, listeners }, ...files });
  expect(found.map((line) => line.split(': ')[0])).toEqual([
    'postern.yaml listeners[0].address',
    'postern.yaml listeners[1].colour',
    'postern.yaml loginTimeout',
    'destinations/plant.json mail.smtp.port',
    'destinations/second.json Type',
    'destinations/second.json Name',
    'postern.yaml listeners[0].greeting',
    'postern.yaml connectivity',
    'postern.yaml listeners[1].destination',
  ]);
  // Names stand once in the text, though two files have one of them.
  expect(found.at(-1)).toMatch(/there are office-mail, plant$/);
});

it('draws no conclusions from what it could not read', () => {
  const files = { 'destinations/plant.json': ONPREMISE };
  const connectivity = { host: 'a b', token: 'none' };
  expect(mistakesOf({ 'postern.yaml': { ...FILE, connectivity }, ...files })).toEqual([
    'postern.yaml connectivity.host: must be a host name or an IP address',
  ]);
  const listeners = [{ destination: 'served', address: '127.0.0.1:1', instance: 'main' }];
  for (const destinations of [{ services: [{ name: 'main' }] }, { directory: '' }])
    expect(mistakesOf({ 'postern.yaml': { destinations, listeners } })).toHaveLength(1);
});

it('what only the Destination service can know needs one; what token services need does not', () => {
  const at = (more: object) =>
    mistakesOf({
      'postern.yaml': { ...FILE, listeners: [{ destination: 'office-mail', address: '127.0.0.1:1', ...more }] },
    });
  const own = { tokenServiceTenant: 'acme', redirectUri: 'https://a.example/', codeVerifier: 'v'.repeat(43) };
  expect(at(own)).toEqual([]);
  for (const [key, value] of Object.entries({
    instance: 'main',
    tenant: 'acme',
    level: 'instance',
    fragment: { name: 'f' },
    chain: { name: 'c' },
  }))
    expect(at({ ...own, [key]: value })).toEqual([`postern.yaml listeners[0].${key}: needs destinations.services`]);
});

it('a missing key says what is allowed', () => {
  const found = mistakesOf({
    'postern.yaml': { destinations: {}, connectivity: {}, listeners: [{ app: {} }] },
    'destinations/mail.json': {},
  });
  const all = [...found, ...mistakesOf({ 'postern.yaml': { a: 1 } }), ...mistakesOf({ 'destinations/mail.json': {} })];
  expect(all.length).toBeGreaterThan(10);
  for (const line of all)
    expect(line).toMatch(
      /: (must|is missing; it must|is missing; allowed|is not known here; allowed|"office-mail" is not known; there are)/,
    );
});

it('refuses a CA file with a broken certificate', async () => {
  const { certificate } = await selfSigned('ca');
  const ca = (pem: string | Buffer) =>
    mistakesOf({ 'postern.yaml': { ...FILE, tls: { additionalCAs: ['./ca.pem'] } }, 'ca.pem': pem });
  const broken = '-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n';
  expect(ca(certificate + broken)).toEqual([
    'postern.yaml tls.additionalCAs[0]: must hold valid certificates only; number 2 of its 2 is broken',
  ]);
  expect(ca(`${certificate}-----BEGIN CERTIFICATE-----\naGVs`)).toHaveLength(1);
  expect(ca(Buffer.concat([Buffer.from('Zürich\n', 'latin1'), Buffer.from(certificate + certificate)]))).toEqual([]);
});

it.each([
  ['an empty token file', { file: './t' }, { t: '' }, 'file'],
  ['a token of two words', { file: './t' }, { t: 'a b' }, 'file'],
  ['a binding without url', { binding: './b' }, { ...BINDING, 'b/url': '' }, 'binding'],
  ['an empty folder', { binding: './b' }, { 'b/.keep': '' }, 'binding'],
  ['a binding that is not JSON', { binding: './b.json' }, { 'b.json': 'geheim' }, 'binding'],
  ['a JSON binding without clientid', { binding: './b.json' }, { 'b.json': { url: 'https://a.example' } }, 'binding'],
])('connectivity: %s is a mistake', (_, token, files, key) => {
  const found = mistakesOf({ 'postern.yaml': { ...FILE, connectivity: { host: 'cp', token } }, ...files });
  expect(found).toEqual([expect.stringContaining(`connectivity.token.${key}: `)]);
  expect(found.join()).not.toContain('geheim');
});

it.each(['cp:20004', 'http://cp', 'fe80::1%lo', 'a b'])('connectivity: host %j is refused', (host) => {
  const found = mistakesOf({ 'postern.yaml': { ...FILE, connectivity: { host, token: 'none' } } });
  expect(found).toEqual(['postern.yaml connectivity.host: must be a host name or an IP address']);
});

it.each(['cp', '127.0.0.1', '::1', '[::1]'])('connectivity: host %j is taken', (host) => {
  expect(mistakesOf({ 'postern.yaml': { ...FILE, connectivity: { host, token: 'none' } } })).toEqual([]);
});
