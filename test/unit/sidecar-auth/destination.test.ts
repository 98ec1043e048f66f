import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ConfigMistakes } from '../../../sidecar-auth/config/mistakes.ts';
import { type Destination, destinationFromProperties } from '../../../sidecar-auth/destination/destination.ts';
import type { TokenService } from '../../../sidecar-auth/destination/token-service.ts';
import { selfSigned } from '../token/certificate.ts';
import { FILE, type Files, load, MAIL, mistakesOf } from './files.ts';

const { 'mail.transport.protocol': _p, 'mail.smtps.host': _h, 'mail.password': _s, ...BARE } = MAIL;
const SECRET = { 'mail.password': 'geheim-1' };

function destination(properties: object, files: Files = {}): Destination | undefined {
  return load({ 'destinations/mail.json': properties, ...files }).destinations.get('office-mail');
}

function mistakes(properties: object | string, files: Files = {}): string[] {
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
    login: { kind: 'basic', user: 'jane', password: 'geheim-1' },
    verify: true,
    starttls: false,
  });
});

it.each(['imap', 'imap4'])('finds the keys of imap under %s', (name) => {
  const properties = { ...BARE, ...SECRET, 'mail.transport.protocol': 'imap4' };
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
    expect(destinations.get('office-mail')?.login).toMatchObject({ kind: 'basic', password });
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
  expect(destination(properties, { 'destinations/p': ' wort \n' })?.login).toMatchObject({ password: ' wort ' });
  expect(destination(properties, { 'destinations/p': 'wort' })?.login).toMatchObject({ password: 'wort' });
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
  expect(found?.login).toEqual({ kind: 'none' });
});

it.each([
  ['smtp', {}, true],
  ['smtp', { 'mail.smtp.starttls.enable': 'true' }, true],
  ['smtp', { 'mail.smtp.starttls.enable': true, 'mail.smtp.starttls.required': true }, true],
  ['smtp', { 'mail.smtp.starttls.required': 'false' }, true],
  ['smtp', { 'mail.smtp.starttls.enable': 'false' }, false],
  ['smtp', { 'mail.smtp.starttls.enable': 'FALSE' }, false],
  ['imap4', { 'mail.imap.starttls.enable': false }, false],
  ['smtps', {}, false],
  ['smtps', { 'mail.smtps.starttls.enable': 'true' }, false],
])('Internet %s with %j has STARTTLS %s', (protocol, more, starttls) => {
  const plain = { ...BARE, ...SECRET, 'mail.transport.protocol': protocol, [`mail.${protocol}.host`]: 'h' };
  expect(destination({ ...plain, ...more })?.starttls).toBe(starttls);
});

it('STARTTLS can not be demanded and turned off', () => {
  const plain = { ...BARE, ...SECRET, 'mail.transport.protocol': 'smtp', 'mail.smtp.host': 'h' };
  const off = { ...plain, 'mail.smtp.starttls.enable': 'false' };
  expect(mistakes({ ...off, 'mail.smtp.starttls.required': 'true' })).toEqual([
    'mail.smtp.starttls.required: must not be true where mail.smtp.starttls.enable is false',
  ]);
  expect(mistakes({ ...off, 'mail.smtp.starttls.required': 'false' })).toEqual([]);
});

const CONNECTIVITY = { 'postern.yaml': { ...FILE, connectivity: { host: 'cp', token: 'none' } } };
const PLANT = { ...BARE, ...SECRET, ProxyType: 'OnPremise', CloudConnectorLocationId: 'werk 1' };

it('on-premise: plain without STARTTLS unless it is asked for, with the location id', () => {
  const plain = { ...PLANT, 'mail.transport.protocol': 'pop3', 'mail.pop3.host': 'virtual' };
  expect(destination(plain, CONNECTIVITY)).toMatchObject({
    onPremise: true,
    location: 'werk 1',
    port: 110,
    starttls: false,
  });
  for (const key of ['enable', 'required']) {
    const found = destination({ ...plain, [`mail.pop3.starttls.${key}`]: 'true' }, CONNECTIVITY);
    expect(found?.starttls).toBe(true);
  }
  expect(mistakes({ ...plain, CloudConnectorLocationId: 'x'.repeat(190) }, CONNECTIVITY)).toHaveLength(1);
  expect(mistakes({ ...plain, CloudConnectorLocationId: 'x'.repeat(189) }, CONNECTIVITY)).toEqual([]);
});

it.each(['smtp', 'imap', 'pop3'])('on-premise: %ss has TLS inside the tunnel', (protocol) => {
  const secure = { ...PLANT, 'mail.transport.protocol': `${protocol}s`, [`mail.${protocol}s.host`]: 'virtual' };
  expect(destination(secure, CONNECTIVITY)).toMatchObject({ onPremise: true, tls: true, starttls: false, protocol });
});

it('ssl.trust: only "*", which is no verification', () => {
  expect(destination({ ...MAIL, 'mail.smtps.ssl.trust': '*' })?.verify).toBe(false);
  expect(destination(MAIL)?.verify).toBe(true);
  for (const trust of ['mail.example.com', 'a.example b.example', '* a.example', '**']) {
    expect(mistakes({ ...MAIL, 'mail.smtps.ssl.trust': trust })).toEqual([
      expect.stringMatching(/^mail.smtps.ssl.trust: must be .* tls.additionalCAs$/),
    ]);
  }
});

it("takes Jakarta Mail's mechanisms and time limits", () => {
  const more = {
    'mail.smtps.auth.mechanisms': 'login DIGEST-MD5 PLAIN',
    'mail.smtps.connectiontimeout': '1500',
    'mail.smtps.timeout': 90000,
  };
  expect(destination({ ...MAIL, ...more })).toMatchObject({
    mechanisms: ['LOGIN', 'PLAIN'],
    connectTimeoutMs: 1500,
    timeoutMs: 90000,
  });
  const endless = destination({ ...MAIL, 'mail.smtps.timeout': '0', 'mail.smtps.connectiontimeout': '-1' });
  expect(endless).toBeDefined();
  expect(endless).not.toHaveProperty('timeoutMs');
  expect(endless).not.toHaveProperty('connectTimeoutMs');
  expect(mistakes({ ...MAIL, 'mail.smtps.timeout': '600001' })).toHaveLength(1);
  expect(mistakes({ ...MAIL, 'mail.smtps.auth.mechanisms': 'XOAUTH2' })).toEqual([
    'mail.smtps.auth.mechanisms: must name PLAIN or LOGIN',
  ]);
  expect(destination({ ...OAUTH, 'mail.smtps.auth.mechanisms': 'XOAUTH2 PLAIN' })?.mechanisms).toEqual(['XOAUTH2']);
});

const { 'mail.password': _, ...WITHOUT } = MAIL;
const OAUTH = {
  ...WITHOUT,
  Authentication: 'OAuth2ClientCredentials',
  tokenServiceURL: 'https://login.example.com/oauth/token',
  clientId: 'postern',
  clientSecret: 'geheim-2',
};

function token(properties: object, files: Files = {}): TokenService | undefined {
  const login = destination(properties, files)?.login;
  return login?.kind === 'oauth' ? login.token : undefined;
}

it.each([
  ['OAuth2ClientCredentials', 'client_credentials'],
  ['OAuth2RefreshToken', 'refresh_token'],
  ['OAuth2AuthorizationCode', 'authorization_code'],
])('%s is the grant %s', (kind, grant) => {
  expect(destination({ ...OAUTH, Authentication: kind })?.login).toEqual({
    kind: 'oauth',
    user: 'jane',
    grant,
    token: {
      url: 'https://login.example.com/oauth/token',
      urlType: 'Dedicated',
      clientId: 'postern',
      authentication: { kind: 'secret', secret: 'geheim-2', in: 'either' },
      body: {},
      headers: {},
      queries: {},
    },
  });
});

it('reads what is sent along with token requests', () => {
  const more = {
    scope: 'a b',
    tokenServiceURLType: 'Common',
    'tokenService.body.resource': 'urn:x',
    'tokenServiceURL.headers.X-Zone': 'eu',
    'tokenServiceURL.queries.v': '2',
  };
  expect(token({ ...OAUTH, ...more })).toMatchObject({
    scope: 'a b',
    urlType: 'Common',
    body: { resource: 'urn:x' },
    headers: { 'X-Zone': 'eu' },
    queries: { v: '2' },
  });
});

it.each(['http://login.example.com/token', 'https://a:b@login.example.com/token', 'login.example.com', 'ftp://x/'])(
  'tokenServiceURL %s is refused',
  (url) => {
    expect(mistakes({ ...OAUTH, tokenServiceURL: url })).toEqual([
      expect.stringMatching(/^tokenServiceURL: must be an https URL/),
    ]);
  },
);

it('tokenServiceURL may be on this machine', () => {
  const url = 'http://127.0.0.1:8080/token';
  expect(token({ ...OAUTH, tokenServiceURL: url })?.url).toBe(url);
});

it.each(['tokenServiceURL', 'authorizationURL', 'deviceAuthorizationURL', 'issuer'])(
  '{tenant} in %s is for tokenServiceURLType Common',
  (key) => {
    const one = { ...OAUTH, [key]: 'https://{tenant}.example.com/x' };
    expect(token({ ...one, tokenServiceURLType: 'Common' })).toBeDefined();
    expect(mistakes(one)).toEqual([`${key}: must not have {tenant} in it, unless tokenServiceURLType is Common`]);
  },
);

it('needs what the grant needs', () => {
  const { clientSecret: _s, 'mail.user': _u, ...bare } = OAUTH;
  const client = { ...bare, 'mail.user': 'jane' };
  expect(mistakes(client)).toEqual([expect.stringMatching(/^clientSecret: is missing; .*clientSecretFile/)]);
  expect(mistakes({ ...bare, clientSecret: 'x' })).toEqual([
    'mail.user: is missing; it must be a text of 1 to 1024 octets',
  ]);
  // A public client, and a user that the app names.
  expect(token({ ...bare, Authentication: 'OAuth2RefreshToken' })?.authentication).toEqual({ kind: 'none' });
});

it.each([
  [{ 'tokenService.addClientCredentialsInBody': 'true' }, { kind: 'secret', secret: 'geheim-2', in: 'body' }],
  [{ 'tokenService.addClientCredentialsInBody': false }, { kind: 'secret', secret: 'geheim-2', in: 'header' }],
  [
    { tokenServiceUser: 'u', tokenServicePassword: 'p' },
    { kind: 'basic', user: 'u', password: 'p' },
  ],
])('client authentication: %j', (more, authentication) => {
  expect(token({ ...OAUTH, ...more })?.authentication).toEqual(authentication);
});

it('reads secrets, keys and certificates from files', () => {
  const { clientSecret: _s, ...open } = OAUTH;
  expect(
    token({ ...open, clientSecretFile: './s' }, { 'destinations/s': 'aus Datei\n' })?.authentication,
  ).toMatchObject({
    secret: 'aus Datei',
  });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const assertion = { ...open, 'clientAssertion.keyFile': './k', 'clientAssertion.keyId': 'one' };
  expect(token(assertion, { 'destinations/k': pem })?.authentication).toEqual({
    kind: 'private_key_jwt',
    key: pem,
    keyId: 'one',
  });
  for (const content of ['geheim-3', pem.replace('A', '?')]) {
    const found = mistakes(assertion, { 'destinations/k': content });
    expect(found).toEqual([expect.stringMatching(/^clientAssertion.keyFile: must be a PEM file/)]);
    expect(found.join()).not.toContain('geheim');
  }
  expect(mistakes({ ...assertion, clientSecret: 'x' }, { 'destinations/k': pem })).toEqual([
    'clientAssertion.keyFile: must not stand beside clientSecret',
  ]);
});

it('reads the certificate and the key of mTLS from one file, with a password where it has one', async () => {
  const { clientSecret: _s, ...open } = OAUTH;
  const { certificate, key } = await selfSigned('postern');
  const cipher = { cipher: 'aes-256-cbc', passphrase: 'geheim-4' };
  const locked = createPrivateKey(key)
    .export({ type: 'pkcs8', format: 'pem', ...cipher })
    .toString();
  const mtls = { ...open, 'tokenService.KeyStoreLocation': './store.pem' };
  const files = { 'destinations/store.pem': `${certificate}${key}` };
  expect(token(mtls, files)?.authentication).toMatchObject({ kind: 'tls', key });
  const lockedFiles = { 'destinations/store.pem': `${certificate}${locked}` };
  expect(token({ ...mtls, 'tokenService.KeyStorePassword': 'geheim-4' }, lockedFiles)?.authentication).toEqual(
    token(mtls, files)?.authentication,
  );
  for (const password of [{}, { 'tokenService.KeyStorePassword': 'falsch' }])
    expect(mistakes({ ...mtls, ...password }, lockedFiles)).toEqual([
      expect.stringMatching(/^tokenService.KeyStoreLocation: must be a PEM file/),
    ]);
  expect(mistakes(mtls, { 'destinations/store.pem': key })).toHaveLength(1);
});

it('reads a refresh token of up to 16 KiB, for OAuth2RefreshToken only', () => {
  const refresh = { ...OAUTH, Authentication: 'OAuth2RefreshToken', refreshTokenFile: './t' };
  const files = (length: number) => ({ 'destinations/t': `${'r'.repeat(length)}\n` });
  expect(token(refresh, files(16_384))?.refreshToken).toBe('r'.repeat(16_384));
  expect(mistakes(refresh, files(16_385))).toHaveLength(1);
  expect(mistakes({ ...refresh, Authentication: 'OAuth2AuthorizationCode' }, files(5))).toEqual([
    'refreshTokenFile: is for OAuth2RefreshToken',
  ]);
});

describe('a destination of the Destination service', () => {
  const WHERE = 'https://destination.example.com/destination-configuration/v1/destinations/office-mail';
  const served = (properties: Record<string, unknown>) => destinationFromProperties(properties, WHERE);

  it('is read like one of a file', () => {
    expect(served(MAIL)).toEqual({ ...destination(MAIL), file: WHERE });
    expect(served({ ...OAUTH, 'mail.smtps.port': 4465, certificates: [], other: null })).toMatchObject({ port: 4465 });
    expect(() => served({ ...MAIL, 'mail.smtps.starttls.enabel': 'x' })).toThrow(ConfigMistakes);
    expect(() => served({ ...MAIL, 'mail.smtps.host': undefined })).toThrow(`${WHERE}: mail.smtps.host`);
    expect(served({ ...MAIL, 'mail.something.far.away': '1' }).name).toBe('office-mail');
  });

  it('makes no file of this machine be read', () => {
    const { 'mail.password': _p, ...open } = MAIL;
    expect(() => served({ ...open, 'mail.passwordFile': '/etc/hostname' })).toThrow('is for destination files');
    const { clientSecret: _s, ...client } = OAUTH;
    const files = {
      clientSecretFile: '/etc/hostname',
      'tokenService.KeyStoreLocation': '/etc/hostname',
      'clientAssertion.keyFile': '/etc/hostname',
      refreshTokenFile: '/etc/hostname',
    };
    const { login } = served({ ...client, ...files, Authentication: 'OAuth2RefreshToken' });
    expect(login).toMatchObject({ token: { authentication: { kind: 'destination_service' } } });
    expect(login.kind === 'oauth' && login.token).not.toHaveProperty('refreshToken');
  });

  it('may do without what only the Destination service needs', () => {
    const { clientSecret: _s, tokenServiceURL: _t, ...bare } = OAUTH;
    expect(served(bare).login).toMatchObject({ token: { url: '', authentication: { kind: 'destination_service' } } });
  });
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
  expect(mistakes({ ...MAIL, 'mail.something.far.away': '1' })).toEqual([
    expect.stringMatching(/^mail.something.far.away: is not known; allowed are mail.user, .* host, port, /),
  ]);
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

it('a wrong protocol hides no other mistake', () => {
  const wrong = { ...MAIL, 'mail.transport.protocol': 'smpt', 'mail.smtps.port': 'x', 'mail.passwordFile': './none' };
  const { 'mail.user': _u, ...file } = wrong;
  const keys = (properties: object) => mistakes(properties).map((line) => line.split(':')[0]);
  expect(keys(file)).toEqual(['mail.transport.protocol', 'mail.user', 'mail.passwordFile', 'mail.smtps.port']);
  // Whose host and port are meant can't be told here.
  const { 'mail.smtps.host': _h, ...open } = { ...MAIL, 'mail.transport.protocol': 'x', 'mail.smtp.localhost': 'a b' };
  expect(keys(open)).toEqual(['mail.transport.protocol', 'mail.smtp.localhost']);
});

it('a wrong Authentication hides no other mistake', () => {
  const { 'mail.user': _u, 'mail.password': _p, ...bare } = { ...MAIL, Authentication: 'Basic' };
  const keys = (properties: object) => mistakes(properties).map((line) => line.split(':')[0]);
  expect(keys(bare)).toEqual(['Authentication', 'mail.user', 'mail.password']);
  expect(keys({ ...bare, 'mail.passwordFile': './none' })).toEqual([
    'Authentication',
    'mail.user',
    'mail.passwordFile',
  ]);
  const { clientId: _c, ...oauth } = { ...OAUTH, Authentication: 'OAuth2', tokenServiceURLType: 'x' };
  expect(keys(oauth)).toEqual(['Authentication', 'tokenServiceURLType', 'clientId']);
  expect(keys({ ...bare, Authentication: 'None' })).toEqual(['Authentication']);
});

it('a secret in the place of a key is not shown', () => {
  const found = mistakes(
    `{ ${Object.entries(MAIL)
      .map(([key, value]) => (key === 'mail.password' ? 'mail.password:geheim-1' : `${key}: ${value}`))
      .join(', ')} }`,
  );
  expect(found).toContain('mail.password: is not known (is a space missing after its colon?)');
  expect(found.join()).not.toContain('geheim');
  for (const odd of ['mail.password=geheim-1', 'mail.passwort geheim-1', 'mail.password"geheim-1'])
    expect(mistakes({ ...MAIL, [odd]: 'x' }).join()).toMatch(/^mail.passwor[dt]: is not known/);
});

it('a file that is not UTF-8 is refused, a byte order mark dropped', () => {
  const { 'mail.password': _p, ...bare } = MAIL;
  const properties = { ...bare, 'mail.passwordFile': './p' };
  const latin1 = Buffer.from('für', 'latin1');
  expect(mistakes(properties, { 'destinations/p': latin1 })).toEqual(['mail.passwordFile: must be UTF-8 text']);
  expect(mistakes(properties, { 'destinations/mail.json': latin1 })).toContain(': must be UTF-8 text');
  for (const mark of ['', '\ufeff']) {
    const files = { 'destinations/mail.json': mark + JSON.stringify(properties), 'destinations/p': `${mark}für` };
    expect(destination(properties, files)?.login).toMatchObject({ password: 'für' });
  }
  const { clientSecret: _s, ...open } = OAUTH;
  const refresh = { ...open, Authentication: 'OAuth2RefreshToken', refreshTokenFile: './t', clientSecretFile: './p' };
  expect(mistakes(refresh, { 'destinations/t': latin1, 'destinations/p': latin1 })).toEqual([
    'clientSecretFile: must be UTF-8 text',
    'refreshTokenFile: must be UTF-8 text',
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

it.each([
  [{}, undefined],
  [{ 'mail.smtps.capabilities': 'remembered' }, undefined],
  [{ 'mail.smtps.capabilities': 'asked' }, 'asked'],
])('%j: capabilities %s', (more, capabilities) => {
  expect(destination({ ...MAIL, ...more })?.capabilities).toBe(capabilities);
});

it.each([
  [{}, undefined],
  [{ 'mail.smtps.preconnect': 'false' }, undefined],
  [{ 'mail.smtps.preconnect': 'true' }, true],
])('%j: preconnect %s', (more, preconnect) => {
  expect(destination({ ...MAIL, ...more })?.preconnect).toBe(preconnect);
});

it.each([{ 'mail.smtps.ssl.trust': '*' }, { ProxyType: 'OnPremise' }])(
  'preconnect may be where the relay leads to the server: %j',
  (more) => {
    const properties = { ...MAIL, 'mail.smtps.preconnect': 'true', ...more };
    expect(destinationFromProperties(properties, 'here').preconnect).toBe(true);
  },
);
