import { expect, it } from 'vitest';
import type { Destination } from '../../../sidecar-auth/destination/destination.ts';
import { FILE, type Files, load, MAIL, mistakesOf } from './files.ts';

const { 'mail.transport.protocol': _p, 'mail.smtps.host': _h, 'mail.password': _s, ...BARE } = MAIL;
const SECRET = { 'mail.password': 'geheim-1' };

function destination(properties: object, files: Files = {}): Destination | undefined {
  return load({ 'destinations/mail.json': properties, ...files }).destinations.get('office-mail');
}

function mistakes(properties: object, files: Files = {}): string[] {
  return mistakesOf({ 'destinations/mail.json': properties, ...files }).map((line) =>
    line.replace('destinations/mail.json ', ''),
  );
}

it.each([
  ['smtp', 'smtp', 587, false],
  ['smtps', 'smtp', 465, true],
  ['pop3', 'pop3', 110, false],
  ['pop3s', 'pop3', 995, true],
  ['imap', 'imap', 143, false],
  ['imap4', 'imap', 143, false],
  ['imaps', 'imap', 993, true],
  ['imap4s', 'imap', 993, true],
])('%s is %s on port %i, TLS %s', (name, protocol, port, tls) => {
  const found = destination({
    ...BARE,
    ...SECRET,
    'mail.transport.protocol': name,
    [`mail.${name}.host`]: 'mail.example.com',
    [`mail.${name}.starttls.enable`]: false,
  });
  expect(found).toMatchObject({
    protocol,
    port,
    tls,
    host: 'mail.example.com',
    login: { user: 'jane', password: 'geheim-1' },
  });
});

it.each(['imap', 'imap4'])('finds the keys of imap under %s', (name) => {
  const properties = { ...BARE, ...SECRET, 'mail.transport.protocol': 'imap4', 'mail.imap.starttls.enable': 'false' };
  expect(destination({ ...properties, [`mail.${name}.host`]: 'h', [`mail.${name}.port`]: '77' })).toMatchObject({
    host: 'h',
    port: 77,
  });
});

it('refuses a key under both names', () => {
  const both = {
    ...BARE,
    ...SECRET,
    'mail.transport.protocol': 'imaps',
    'mail.imaps.host': 'a',
    'mail.imap4s.host': 'b',
  };
  expect(mistakes(both)).toEqual(['mail.imap4s.host: must not stand beside mail.imaps.host']);
});

it('reads YAML, where an unquoted password stays what it is', () => {
  const yaml = Object.entries({ ...MAIL, 'mail.password': 'P' })
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n');
  for (const password of ['0123', '1e5', 'true', '12345678901234567890']) {
    const { destinations } = load({ 'destinations/mail.json': yaml.replace(': P', `: ${password}`) });
    expect(destinations.get('office-mail')?.login?.password).toBe(password);
  }
});

it('takes native JSON types', () => {
  const { destinations } = load({
    'destinations/mail.json': { ...MAIL, 'mail.smtps.port': 4465, 'mail.smtps.auth': true, 'mail.password': 123 },
  });
  expect(destinations.get('office-mail')).toMatchObject({ port: 4465, login: { password: '123' } });
});

it('reads a password file, without one newline at its end', () => {
  const properties = {
    ...BARE,
    'mail.transport.protocol': 'smtps',
    'mail.smtps.host': 'h',
    'mail.passwordFile': './p',
  };
  expect(destination(properties, { 'destinations/p': ' wort \n' })?.login?.password).toBe(' wort ');
  expect(destination(properties, { 'destinations/p': 'wort' })?.login?.password).toBe('wort');
  expect(mistakes(properties, { 'destinations/p': 'wort\n\n' })).toEqual([
    expect.stringMatching(/^mail.passwordFile: must not contain CR/),
  ]);
  expect(mistakes(properties, { 'destinations/p': '\n' })).toEqual([
    expect.stringMatching(/^mail.passwordFile: must have 1 to 1024/),
  ]);
  expect(mistakes(properties)).toEqual([expect.stringMatching(/^mail.passwordFile: .*ENOENT/)]);
  expect(mistakes({ ...properties, ...SECRET })).toEqual(['mail.passwordFile: must not stand beside mail.password']);
});

it.each([
  ['NoAuthentication', { Authentication: 'NoAuthentication' }],
  ['auth "false"', { 'mail.smtps.auth': 'false' }],
  ['auth false', { 'mail.smtps.auth': false }],
])('%s needs no login', (_, more) => {
  const { Authentication: _a, 'mail.user': _u, ...rest } = BARE;
  const found = destination({ ...rest, 'mail.transport.protocol': 'smtps', 'mail.smtps.host': 'h', ...more });
  expect(found).toBeDefined();
  expect(found).not.toHaveProperty('login');
});

it.each(['OAuth2ClientCredentials', 'OAuth2RefreshToken', 'OAuth2AuthorizationCode'])(
  '%s is not supported yet',
  (kind) => {
    expect(mistakes({ ...MAIL, Authentication: kind })).toEqual([
      expect.stringContaining(`${kind} is not supported yet`),
    ]);
  },
);

it.each([
  ['missing', {}],
  ['true', { 'mail.smtp.starttls.enable': 'true' }],
])('plain Internet with STARTTLS %s is refused, false is taken', (_, more) => {
  const plain = { ...BARE, ...SECRET, 'mail.transport.protocol': 'smtp', 'mail.smtp.host': 'h' };
  expect(mistakes({ ...plain, ...more })).toEqual([
    expect.stringMatching(/^mail.smtp.starttls.enable: STARTTLS is not supported yet/),
  ]);
  for (const value of ['false', false, 'FALSE'])
    expect(mistakes({ ...plain, 'mail.smtp.starttls.enable': value })).toEqual([]);
});

it('on-premise: plain protocols only, with the location id', () => {
  const connectivity = { 'postern.yaml': { ...FILE, connectivity: { host: 'cp', token: 'none' } } };
  const plant = { ...BARE, ...SECRET, ProxyType: 'OnPremise', CloudConnectorLocationId: 'werk 1' };
  const plain = { ...plant, 'mail.transport.protocol': 'pop3', 'mail.pop3.host': 'virtual' };
  expect(destination(plain, connectivity)).toMatchObject({ onPremise: true, location: 'werk 1', port: 110 });
  expect(mistakes({ ...plain, CloudConnectorLocationId: 'x'.repeat(190) }, connectivity)).toHaveLength(1);
  expect(mistakes({ ...plain, CloudConnectorLocationId: 'x'.repeat(189) }, connectivity)).toEqual([]);
  const secure = { ...plant, 'mail.transport.protocol': 'pop3s', 'mail.pop3s.host': 'virtual' };
  expect(mistakes(secure, connectivity)).toEqual([
    expect.stringMatching(/^mail.transport.protocol: must be smtp, pop3, imap/),
  ]);
});

it.each(['\r', '\n', '\0', '\x01'])('refuses %j in any value and does not quote it', (octet) => {
  for (const key of [
    'Name',
    'mail.user',
    'mail.password',
    'mail.smtps.host',
    'mail.smtps.localhost',
    'CloudConnectorLocationId',
  ]) {
    const found = mistakes({ ...MAIL, [key]: `geheim${octet}NOOP` });
    expect(found).toContain(`${key}: must not contain CR, LF, NUL or \\x01`);
    expect(found.join()).not.toContain('geheim');
  }
});

it('tells what is meant by a mistyped mail key, and tolerates keys of others', () => {
  expect(mistakes({ ...MAIL, 'mail.smtps.prot': '1' })).toEqual([
    'mail.smtps.prot: is not known; is mail.smtps.port meant?',
  ]);
  expect(mistakes({ ...MAIL, 'Mail.User': 'x' })).toEqual(['Mail.User: is not known; is mail.user meant?']);
  expect(mistakes({ ...MAIL, 'mail.something.far.away': '1' })).toEqual(['mail.something.far.away: is not known']);
  expect(mistakes({ ...MAIL, Description: 'x', 'mail.imap.host': 'other', nested: { a: 1 } })).toEqual([]);
});

it.each(['mail.example.com', '192.0.2.1', '2001:db8::1', 'under_score', 'xn--bcher-kva.example'])('host %s', (host) => {
  expect(destination({ ...MAIL, 'mail.smtps.host': host })?.host).toBe(host);
});

it('writes hosts in the form that the wire wants', () => {
  expect(destination({ ...MAIL, 'mail.smtps.host': 'bücher.example' })?.host).toBe('xn--bcher-kva.example');
  expect(destination({ ...MAIL, 'mail.smtps.host': 'mail.example.' })?.host).toBe('mail.example');
  expect(destination({ ...MAIL, 'mail.smtps.host': '[2001:db8::1]' })?.host).toBe('2001:db8::1');
});

it.each(['a b', 'a/b', 'user@host', 'host:25', 'fe80::1%eth0', '.'])('host %j is refused', (host) => {
  expect(mistakes({ ...MAIL, 'mail.smtps.host': host })).toEqual([
    'mail.smtps.host: must be a host name or an IP address',
  ]);
});

it('takes the name for EHLO', () => {
  expect(destination({ ...MAIL, 'mail.smtps.localhost': 'gw.example.com' })?.hello).toBe('gw.example.com');
  expect(destination({ ...MAIL, 'mail.smtp.localhost': '[192.0.2.1]' })?.hello).toBe('[192.0.2.1]');
  expect(mistakes({ ...MAIL, 'mail.smtp.localhost': 'a b' })).toEqual([
    expect.stringMatching(/^mail.smtp.localhost: /),
  ]);
});

it.each([
  'Name',
  'Type',
  'ProxyType',
  'Authentication',
  'mail.user',
  'mail.password',
  'mail.transport.protocol',
  'mail.smtps.host',
])('needs %s', (key) => {
  const rest = Object.fromEntries(Object.entries(MAIL).filter(([name]) => name !== key));
  expect(mistakes(rest).some((line) => line.startsWith(`${key}: `) && line.includes('missing'))).toBe(true);
});
