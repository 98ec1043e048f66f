import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createCertificates } from '../../../demo/certificates.ts';
import { introspection } from '../../../demo/mail-server/introspection.ts';
import { type MailServer, startMailServer } from '../../../demo/mail-server/server.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider } from '../../../demo/openid-provider.ts';
import { talk } from './talk.ts';

const ANN = 'ann@demo.test';
const BOB = 'bob@demo.test';
const MAIL = 'https://mail.demo.test';
const base64 = (text: string) => Buffer.from(text).toString('base64');

const RESPONSES = {
  XOAUTH2: (user: string, token: string) => base64(`user=${user}\x01auth=Bearer ${token}\x01\x01`),
  OAUTHBEARER: (user: string, token: string) =>
    base64(`n,a=${user},\x01host=localhost\x01port=143\x01auth=Bearer ${token}\x01\x01`),
};
const MECHANISMS = ['XOAUTH2', 'OAUTHBEARER'] as const;

const WORDS = {
  smtp: { hello: 'EHLO app', end: /^250 .*\r\n/m, offer: 'AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER', auth: 'AUTH' },
  imap: { hello: '0 CAPABILITY', end: /^0 OK.*\r\n/m, offer: 'AUTH=XOAUTH2 AUTH=OAUTHBEARER', auth: '1 AUTHENTICATE' },
  pop3: { hello: 'CAPA', end: /^\.\r\n/m, offer: 'SASL PLAIN LOGIN XOAUTH2 OAUTHBEARER', auth: 'AUTH' },
};
const GOOD = { smtp: /^235 /m, imap: /^1 OK /m, pop3: /^\+OK Logged in/m };
const REFUSED = { smtp: /^535 /m, imap: /^1 NO \[AUTHENTICATIONFAILED\]/m, pop3: /^-ERR \[AUTH\]/m };
const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;
const CASES = PROTOCOLS.flatMap((protocol) => MECHANISMS.map((mechanism) => ({ protocol, mechanism })));

let directory: string;
let provider: OpenIdProvider;
let server: MailServer;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'postern-test-'));
  provider = await startOpenIdProvider({
    clients: [
      { id: 'app', secret: 'secret', audience: MAIL, redirectUris: ['http://127.0.0.1/'] },
      { id: 'other', secret: 'secret', audience: 'https://other.test', redirectUris: ['http://127.0.0.1/'] },
    ],
    resourceServers: [{ id: 'mail', secret: 'mail-secret', audience: MAIL }],
    users: [ANN, BOB],
    tokenOctets: 1200,
  });
  const tls = await (await createCertificates(directory)).issue('localhost');
  const tokens = introspection(provider.introspectionUrl('mail'), SCOPE);
  server = await startMailServer({ accounts: { [ANN]: 'password', [BOB]: 'password' }, tls, tokens });
});
beforeEach(() => {
  server.logins.length = 0;
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await Promise.all([server.close(), provider.close()]);
  await rm(directory, { recursive: true });
});

/** A login in two lines; a challenge after it is answered. Returns the last answer. */
async function logIn({ protocol, mechanism }: (typeof CASES)[number], user: string, token: string): Promise<string> {
  const { hello, end, offer, auth } = WORDS[protocol];
  const { send, until, socket } = talk(server.ports.plain[protocol]);
  await until(/\r\n/);
  send(`${hello}\r\n`);
  expect(await until(end)).toContain(offer);
  send(`${auth} ${mechanism}\r\n`);
  await until(/^(334|\+) \r\n/m);
  send(`${RESPONSES[mechanism](user, token)}\r\n`);
  const answer = await until(/^(235|334|1 OK|1 NO|\+|\+OK|-ERR) .*\r\n/m);
  if (!/^(334|\+) ey/m.test(answer)) {
    socket.destroy();
    return answer;
  }
  send('AQ==\r\n');
  const last = await until(/^(235|535|1 OK|1 NO|\+OK|-ERR) .*\r\n/m);
  socket.destroy();
  return last;
}

it.each(CASES)('$protocol lets a token in by $mechanism, and tells who came', async (how) => {
  const token = await provider.accessToken({ client: 'app', user: ANN });
  expect(await logIn(how, ANN, token)).toMatch(GOOD[how.protocol]);
  expect(server.logins).toEqual([{ ...how, user: ANN, tls: false }]);
});

it.each(CASES)('$protocol refuses tokens by $mechanism: another user, another audience, revoked, none', async (how) => {
  const refused = REFUSED[how.protocol];
  const token = await provider.accessToken({ client: 'app', user: ANN });
  expect(await logIn(how, BOB, token)).toMatch(refused);
  expect(await logIn(how, ANN, await provider.accessToken({ client: 'other', user: ANN }))).toMatch(refused);
  provider.revokeAccessTokens(ANN);
  expect(await logIn(how, ANN, token)).toMatch(refused);
  expect(await logIn(how, ANN, 'password')).toMatch(refused);
  expect(server.logins).toEqual([]);
});

it.each(PROTOCOLS)('%s takes no token for a password', async (protocol) => {
  const token = await provider.accessToken({ client: 'app', user: ANN });
  const { hello, end, auth } = WORDS[protocol];
  const { send, until, socket } = talk(server.ports.plain[protocol]);
  await until(/\r\n/);
  send(`${hello}\r\n`);
  await until(end);
  send(`${auth} PLAIN\r\n`);
  await until(/^(334|\+) \r\n/m);
  send(`${base64(`\0${ANN}\0${token}`)}\r\n`);
  await until(REFUSED[protocol]);
  socket.destroy();
});
