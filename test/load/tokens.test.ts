import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { introspection } from '../../demo/mail-server/introspection.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider, tokenId } from '../../demo/openid-provider.ts';
import { begin, beginWithToken, sendMail } from '../live/apps.ts';
import { freePorts } from '../live/daemon.ts';
import { Wire } from '../live/wire.ts';

const CONNECTIONS = 200;
const AUDIENCE = 'https://mail.load.test';
/**
 * Seconds: sidecar-auth hands out no token that has less than 15 left, and the new one must do for all that come at once, which take about two;
 * its renewal begins only after that, in the last quarter.
 */
const LIFETIME = 30;
const START_TIMEOUT = 120_000;
/** Milliseconds: a token has to expire. */
const TIMEOUT = 90_000;

const CASES = [
  { name: 'silent', user: 'ann@load.test', authentication: 'OAuth2ClientCredentials', grant: 'client_credentials' },
  { name: 'brought', user: 'bob@load.test', authentication: 'OAuth2RefreshToken', grant: 'refresh_token' },
];
/** Whom a token is good for that has expired: nobody may come with one. */
const NOBODY = 'nobody';
const USERS = CASES.map(({ user }) => user);

describe(`${CONNECTIONS} connections at once, and the token has expired`, () => {
  let dir: string;
  let provider: OpenIdProvider;
  let server: MailServer;
  let postern: Running;
  const ports = new Map<string, number>();
  /** Whose mailbox an access token opens, as the provider tells the mail server. */
  let holder: (token: string) => Promise<string | undefined>;
  /** Tokens that the mail server was shown, by the user that they are good for. */
  const shown = new Map<string, string[]>();

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tokens-'));
    provider = await startOpenIdProvider({
      clients: CASES.map(({ name, user }) => ({
        ...{ id: name, secret: `secret-${name}`, audience: AUDIENCE, user },
        redirectUris: ['https://app.load.test/callback'],
      })),
      resourceServers: [{ id: 'mail', secret: 'mail', audience: AUDIENCE }],
      users: USERS,
      ttl: { accessToken: LIFETIME },
    });
    holder = introspection(provider.introspectionUrl('mail'), SCOPE);
    const tokens = async (token: string) => {
      const user = await holder(token);
      const key = user ?? NOBODY;
      shown.set(key, [...(shown.get(key) ?? []), token]);
      return user;
    };
    const tls = await (await createCertificates(dir)).issue('localhost');
    server = await startMailServer({
      accounts: Object.fromEntries(USERS.map((user) => [user, 'password'])),
      tls,
      tokens,
    });
    postern = await up({ configFile: await writeConfiguration(), workers: 2, logFile: join(dir, 'log') });
  }, START_TIMEOUT);
  afterAll(async () => {
    await postern?.stop();
    await Promise.all([server?.close(), provider?.close()]);
    await rm(dir, { recursive: true, force: true });
  });
  async function writeConfiguration(): Promise<string> {
    const free = await freePorts(CASES.length);
    CASES.forEach(({ name }, index) => {
      ports.set(name, free[index] as number);
    });
    await mkdir(join(dir, 'destinations'));
    for (const { name, user, authentication } of CASES) {
      const destination = {
        Name: name,
        Type: 'MAIL',
        ProxyType: 'Internet',
        Authentication: authentication,
        'mail.user': user,
        'mail.transport.protocol': 'smtp',
        'mail.smtp.host': '127.0.0.1',
        'mail.smtp.port': server.ports.plain.smtp,
        'mail.smtp.starttls.enable': false,
        tokenServiceURL: provider.tokenEndpoint,
        clientId: name,
        clientSecret: `secret-${name}`,
        scope: SCOPE,
      };
      await writeFile(join(dir, 'destinations', `${name}.json`), JSON.stringify(destination), { mode: 0o600 });
    }
    const main = {
      destinations: { directory: './destinations' },
      grants: { directory: './grants' },
      listeners: CASES.map(({ name }) => ({ destination: name, address: `127.0.0.1:${ports.get(name)}` })),
    };
    const file = join(dir, 'postern.yaml');
    await writeFile(file, JSON.stringify(main));
    return file;
  }

  const issuedTo = (name: string) => provider.log.filter(({ client }) => client === name);

  /** Sends a message. The connection is there already, so that all can begin with their login at the same time. */
  async function session(wire: Wire, user: string, token: string | undefined): Promise<void> {
    try {
      if (token === undefined) await begin(wire, 'smtp', 'silent');
      else await beginWithToken(wire, 'smtp', user, token);
      await sendMail(wire, 'silent', user, 'Subject: load\r\n\r\nload\r\n');
    } finally {
      wire.close();
    }
  }

  const open = (name: string) => Wire.open(ports.get(name) as number);

  /** Both cases wait for their tokens' end at the same time. */
  it.concurrent.each(CASES)(
    '$authentication: one token request',
    { timeout: TIMEOUT },
    async ({ name, user, grant }) => {
      const token = grant === 'refresh_token' ? await provider.refreshToken({ client: name, user }) : undefined;
      await session(await open(name), user, token);
      expect(issuedTo(name)).toHaveLength(1);
      const [old = ''] = shown.get(user) ?? [];
      await expect.poll(() => holder(old), { timeout: 2 * LIFETIME * 1000, interval: 200 }).toBeUndefined();
      shown.delete(user);

      const wires = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(name)));
      await Promise.all(wires.map((wire) => session(wire, user, token)));

      const [, renewed, ...more] = issuedTo(name);
      expect(renewed).toMatchObject({ grant, user });
      expect(more).toEqual([]);
      expect(provider.refusals).toEqual([]);
      expect(shown.get(NOBODY)).toBeUndefined();
      expect(shown.get(user)?.map(tokenId)).toEqual(Array(CONNECTIONS).fill(renewed?.tokenId));
      expect(server.store.inbox(user).messages).toHaveLength(1 + CONNECTIONS);
    },
  );
});
