import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCertificates } from '../../demo/certificates.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider, tokenId } from '../../demo/openid-provider.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { describeLive } from './available.ts';
import { type Login, openFolder } from './daemon.ts';
import { type Dovecot, startDovecot } from './dovecot.ts';
import { type Postfix, startPostfix } from './postfix.ts';
import { Wire } from './wire.ts';

const NAME = 'mail.example.test';
const ANN = 'ann@example.test';
const BOB = 'bob@example.test';
const MAIL = 'https://mail.example.test';

const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
const MECHANISMS = ['XOAUTH2', 'OAUTHBEARER'] as const;
type Mechanism = (typeof MECHANISMS)[number];

/** Google's XOAUTH2, and RFC 7628 section 3.1. */
const RESPONSES: Record<Mechanism, (user: string, token: string) => string> = {
  XOAUTH2: (user, token) => `user=${user}\x01auth=Bearer ${token}\x01\x01`,
  OAUTHBEARER: (user, token) => `n,a=${user},\x01auth=Bearer ${token}\x01\x01`,
};

/** How a client gets ready and how it begins; what says that it is in, that it is refused, and that it is asked for more. */
const WORDS: Record<Protocol, { hello?: string; secure: string; auth: string; answer: RegExp; good: RegExp }> = {
  smtp: { hello: 'EHLO app', secure: 'STARTTLS', auth: 'AUTH', answer: /^\d{3} .*\r\n/m, good: /^235 /m },
  imap: { secure: '1 STARTTLS', auth: '2 AUTHENTICATE', answer: /^(2 |\+).*\r\n/m, good: /^2 OK /m },
  pop3: { secure: 'STLS', auth: 'AUTH', answer: /^(-ERR|\+).*\r\n/m, good: /^\+OK /m },
};

describeLive('Dovecot and Postfix check access tokens at the provider', () => {
  let dir: string;
  let provider: OpenIdProvider;
  let tls: { ca: string; name: string };
  let offering: { dovecot: Dovecot; postfix: Postfix };
  let demanding: { dovecot: Dovecot; postfix: Postfix };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'live-'));
    openFolder(dir);
    provider = await startOpenIdProvider({
      clients: [
        { id: 'app', secret: 'app-secret', audience: MAIL, redirectUris: ['http://127.0.0.1/'] },
        { id: 'other', secret: 'other-secret', audience: 'https://other.test', redirectUris: ['http://127.0.0.1/'] },
        { id: 'robot', secret: 'robot-secret', audience: MAIL, user: ANN },
      ],
      resourceServers: [{ id: 'mail', secret: 'mail:secret', audience: MAIL }],
      users: [ANN, BOB],
      tokenOctets: 1500,
    });
    const certificates = await createCertificates(dir);
    const { cert, key } = await certificates.issue(NAME);
    tls = { ca: certificates.ca, name: NAME };
    offering = await start({ certificate: cert, key }, 'offered');
    demanding = await start({ certificate: cert, key }, 'required');
  });
  afterAll(async () => {
    const servers = [offering, demanding].flatMap((pair) => [pair?.postfix.stop(), pair?.dovecot.stop()]);
    await Promise.all([...servers, provider?.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  async function start(pem: { certificate: string; key: string }, starttls: 'offered' | 'required') {
    const home = await mkdtemp(join(dir, 'pair-'));
    const oauth = { introspectionUrl: provider.introspectionUrl('mail'), scope: SCOPE };
    const users = { [ANN]: 'password', [BOB]: 'password' };
    const dovecot = await startDovecot(home, { ...pem, users, oauth, starttls });
    return { dovecot, postfix: await startPostfix(home, { ...pem, dovecot, starttls }) };
  }

  const portOf = (protocol: Protocol, { dovecot, postfix }: typeof offering) =>
    protocol === 'smtp' ? postfix.submission : dovecot[protocol];
  const addressOf = (protocol: Protocol, { dovecot }: typeof offering) =>
    protocol === 'smtp' ? '127.0.0.1' : dovecot.address;

  async function open(protocol: Protocol, secure: boolean, servers = offering): Promise<Wire> {
    const { hello, secure: command } = WORDS[protocol];
    const wire = await Wire.open(portOf(protocol, servers), undefined, addressOf(protocol, servers));
    await wire.expect(/^.*\r\n/);
    if (hello) await wire.ask(hello, /^250 .*\r\n/m);
    if (!secure) return wire;
    await wire.ask(command, /^(220|1 OK|\+OK) .*\r\n/m);
    await wire.startTls(tls);
    if (hello) await wire.ask(hello, /^250 .*\r\n/m);
    return wire;
  }

  /** The answer to a login. A challenge after a failure (RFC 7628 section 3.2.3) is answered, as a client must. */
  async function logIn(wire: Wire, protocol: Protocol, mechanism: Mechanism, user: string, token: string) {
    const { auth, answer } = WORDS[protocol];
    const response = Buffer.from(RESPONSES[mechanism](user, token)).toString('base64');
    const challenge = await wire.ask(`${auth} ${mechanism}`, answer);
    if (!/^(334|\+ ?\r)/m.test(challenge)) return challenge;
    const first = await wire.ask(response, answer);
    return /^(334|\+ )/m.test(first) ? wire.ask(mechanism === 'XOAUTH2' ? '' : 'AQ==', answer) : first;
  }

  async function tryLogin(protocol: Protocol, mechanism: Mechanism, user: string, token: string) {
    const wire = await open(protocol, false);
    const before = loginsOf(offering).length;
    try {
      const answer = await logIn(wire, protocol, mechanism, user, token);
      // Dovecot logs from another process: a line that comes late must not be counted for who comes next.
      const good = protocol !== 'smtp' && WORDS[protocol].good.test(answer);
      if (good) await expect.poll(() => loginsOf(offering).length).toBeGreaterThan(before);
      return answer;
    } finally {
      wire.close();
    }
  }

  function loginsOf({ dovecot, postfix }: typeof offering): Login[] {
    return [...dovecot.logins(), ...postfix.logins()];
  }

  const CASES = PROTOCOLS.flatMap((protocol) =>
    MECHANISMS.flatMap((mechanism) => [false, true].map((secure) => ({ protocol, mechanism, secure }))),
  );

  it.each(CASES)('$protocol takes a token by $mechanism, TLS $secure', async ({ protocol, mechanism, secure }) => {
    const token = await provider.accessToken({ client: 'app', user: ANN });
    const before = loginsOf(offering).length;
    const wire = await open(protocol, secure);
    expect(await logIn(wire, protocol, mechanism, ANN, token)).toMatch(WORDS[protocol].good);
    if (protocol === 'smtp') {
      // Postfix logs a login with the first recipient
      await wire.ask(`MAIL FROM:<${ANN}>`, /^250 .*\r\n/m);
      await wire.ask(`RCPT TO:<${ANN}>`, /^250 .*\r\n/m);
    }
    const login = { service: protocol, user: ANN, method: mechanism, tls: secure };
    await expect.poll(() => loginsOf(offering).length).toBeGreaterThan(before);
    expect(loginsOf(offering)).toContainEqual(login);
    expect(provider.checks.at(-1)).toEqual({ tokenId: tokenId(token), by: 'mail', active: true });
    wire.close();
  });

  it('a token of client credentials opens its client’s mailbox', async () => {
    const form = { grant_type: 'client_credentials', scope: SCOPE, client_id: 'robot', client_secret: 'robot-secret' };
    const response = await fetch(provider.tokenEndpoint, { method: 'POST', body: new URLSearchParams(form) });
    const { access_token: token } = (await response.json()) as { access_token: string };
    expect(await tryLogin('imap', 'XOAUTH2', ANN, token)).toMatch(WORDS.imap.good);
    expect(await tryLogin('imap', 'XOAUTH2', BOB, token)).toMatch(/^2 NO /m);
    const without = { ...form, scope: '' };
    const bare = await fetch(provider.tokenEndpoint, { method: 'POST', body: new URLSearchParams(without) });
    const { access_token: scopeless } = (await bare.json()) as { access_token: string };
    expect(await tryLogin('imap', 'XOAUTH2', ANN, scopeless)).toMatch(/^2 NO /m);
  });

  const REFUSED: Record<Protocol, RegExp> = {
    smtp: /^535 /m,
    imap: /^2 NO \[AUTHENTICATIONFAILED\]/m,
    pop3: /^-ERR \[AUTH\]/m,
  };

  /** Each with what makes it bad, so that the same token was good a moment before. */
  const BAD: Record<string, () => Promise<string>> = {
    'of another audience': () => provider.accessToken({ client: 'other', user: ANN }),
    'of another user': () => provider.accessToken({ client: 'app', user: BOB }),
    expired: async () => {
      const token = await provider.accessToken({ client: 'app', user: ANN, seconds: 1 });
      await expect.poll(async () => active(token), { timeout: 3000 }).toBe(false);
      return token;
    },
    revoked: async () => {
      const token = await provider.accessToken({ client: 'app', user: ANN });
      expect(await tryLogin('imap', 'XOAUTH2', ANN, token)).toMatch(WORDS.imap.good);
      provider.revokeAccessTokens(ANN);
      return token;
    },
    'nobody issued': async () => 'nonsense',
  };

  async function active(token: string): Promise<boolean> {
    const url = new URL(provider.introspectionUrl('mail'));
    const authorization = `Basic ${Buffer.from(`mail:mail%3Asecret`).toString('base64')}`;
    const body = new URLSearchParams({ token });
    const response = await fetch(url.origin + url.pathname, { method: 'POST', headers: { authorization }, body });
    return ((await response.json()) as { active: boolean }).active;
  }

  const BAD_CASES = PROTOCOLS.flatMap((protocol) => [
    ...Object.keys(BAD).map((kind) => ({ protocol, mechanism: 'XOAUTH2' as const, kind })),
    { protocol, mechanism: 'OAUTHBEARER' as const, kind: 'of another audience' },
  ]);

  it.each(BAD_CASES)('$protocol refuses a token $kind by $mechanism', async ({ protocol, mechanism, kind }) => {
    const token = (await BAD[kind]?.()) ?? '';
    const before = loginsOf(offering).length;
    expect(await tryLogin(protocol, mechanism, ANN, token)).toMatch(REFUSED[protocol]);
    const log = protocol === 'smtp' ? offering.postfix : offering.dovecot;
    const by =
      protocol === 'smtp' ? `SASL ${mechanism} authentication failed` : `${protocol}-login: .*auth failed.*${ANN}`;
    await log.logged(new RegExp(by));
    expect(loginsOf(offering)).toHaveLength(before);
    expect(provider.checks.at(-1)).toMatchObject({ tokenId: tokenId(token), by: 'mail' });
  });

  it.each(PROTOCOLS)('%s that demands STARTTLS takes a token after it, and not before', async (protocol) => {
    const token = await provider.accessToken({ client: 'app', user: ANN });
    const checks = provider.checks.length;
    const plain = await open(protocol, false, demanding);
    expect(await logIn(plain, protocol, 'XOAUTH2', ANN, token)).not.toMatch(WORDS[protocol].good);
    expect(provider.checks).toHaveLength(checks);
    plain.close();
    const secure = await open(protocol, true, demanding);
    expect(await logIn(secure, protocol, 'XOAUTH2', ANN, token)).toMatch(WORDS[protocol].good);
    secure.close();
  });
});
