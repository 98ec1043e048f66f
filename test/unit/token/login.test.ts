import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { login } from '../../../cli/login.ts';
import { consentByDevice } from '../../../cli/login-device.ts';
import type { OpenIdProvider } from '../../../demo/openid-provider.ts';
import { loadConfig } from '../../../sidecar-auth/config/config.ts';
import type { Destination } from '../../../sidecar-auth/destination/destination.ts';
import { Failure } from '../../../sidecar-auth/failure.ts';
import { AuthorizationPending, SlowDown, TokenClient } from '../../../sidecar-auth/token/request.ts';
import { JANE, provider, SECRET, temporaryFolder, tokenService } from './world.ts';
import { issuerIn } from './world-issuer.ts';

/** The last words. */
const DONE = 'A Postern that runs takes it up within two minutes';

/** FILE, with one destination and grants in a folder. */
async function configured(op: OpenIdProvider, more: object = {}, services: object[] = [], listener: object = {}) {
  const folder = await temporaryFolder();
  const properties = {
    Name: 'mine',
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'OAuth2AuthorizationCode',
    'mail.user': JANE,
    'mail.transport.protocol': 'smtps',
    'mail.smtps.host': 'mail.example.com',
    tokenServiceURL: op.tokenEndpoint,
    issuer: op.issuer,
    clientId: 'public',
    scope: 'openid mail offline_access',
    ...more,
  };
  await mkdir(join(folder, 'destinations'));
  await writeFile(join(folder, 'destinations', 'mine.json'), JSON.stringify(properties));
  const file = {
    destinations: { directory: './destinations', ...(services.length > 0 && { services }) },
    grants: { directory: './grants' },
    listeners: [{ destination: 'mine', address: '127.0.0.1:1587', ...listener }],
  };
  const configFile = join(folder, 'postern.yaml');
  await writeFile(configFile, JSON.stringify(file));
  return { configFile, grants: join(folder, 'grants') };
}

/** Runs the login; `person` gets the page's URL. Returns what was said. */
async function run(configFile: string, person: (page: URL) => Promise<unknown>, destination = 'mine'): Promise<string> {
  const lines: string[] = [];
  let visit: Promise<unknown> = Promise.resolve();
  const say = (line: string) => {
    lines.push(line);
    const page = /https?:\S+/.exec(line)?.[0];
    if (page) visit = person(new URL(page));
  };
  await login({ configFile, destination, device: false, say });
  await visit;
  return lines.join('\n');
}

/** A browser with cookies, whose person says yes to everything: the provider does that. Returns the last page. */
async function browse(page: URL): Promise<string> {
  const cookies = new Map<string, string>();
  let url = page;
  for (;;) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const set of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
      cookies.set(name, value);
    }
    const text = await response.text();
    const location = response.headers.get('location');
    if (!location) return text;
    url = new URL(location, url);
  }
}

function mine(configFile: string): Destination {
  return loadConfig(configFile).destinations.get('mine') ?? expect.fail('no destination');
}

describe('in a browser', () => {
  it('makes a silent destination', async () => {
    const op = await provider();
    const { configFile, grants } = await configured(op);
    expect(issuerIn(grants, mine(configFile))).not.toHaveProperty('silent');
    let thanks = '';
    const said = await run(configFile, async (page) => {
      expect(page.href.startsWith(`${op.authorizationEndpoint}?`)).toBe(true);
      expect(Object.fromEntries(page.searchParams)).toMatchObject({
        response_type: 'code',
        code_challenge_method: 'S256',
        login_hint: JANE,
        prompt: 'consent',
      });
      thanks = await browse(page);
    });
    expect(thanks).toContain('Thank you');
    expect(said).toContain(`destination "mine", user ${JANE}`);
    const issuer = issuerIn(grants, mine(configFile));
    const first = (await issuer.silent?.())?.value ?? '';
    issuer.refused(first);
    expect(await issuer.silent?.()).toBeDefined();
    expect(op.log.map(({ grant }) => grant)).toEqual(['authorization_code', 'refresh_token', 'refresh_token']);
    expect(said).not.toContain(first);
  });

  it('with a client secret, an address of its own and a redirect URI without a path', async () => {
    const op = await provider({
      clients: [{ id: 'web', secret: SECRET, audience: 'urn:example:mail', redirectUris: ['http://127.0.0.1'] }],
    });
    const { configFile, grants } = await configured(op, {
      clientId: 'web',
      clientSecret: SECRET,
      issuer: undefined,
      authorizationURL: `${op.authorizationEndpoint}?prompt=login+consent&more=1`,
      'X-redirect-uri': 'http://127.0.0.1',
    });
    const said = await run(configFile, async (page) => {
      expect(page.searchParams.get('prompt')).toBe('login consent');
      expect(page.searchParams.get('more')).toBe('1');
      expect(page.searchParams.get('redirect_uri')).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
      await browse(page);
    });
    expect(said).not.toContain(SECRET);
    expect(issuerIn(grants, mine(configFile))).toHaveProperty('silent');
  });

  it('with the tenant of the listener in each URL', async () => {
    const op = await provider();
    // The one path of all these is the "tenant".
    const properties = {
      tokenServiceURLType: 'Common',
      tokenServiceURL: `${op.issuer}/{tenant}`,
      authorizationURL: `${op.issuer}/auth?for={tenant}`,
    };
    const { configFile, grants } = await configured(op, properties, [], { tokenServiceTenant: 'token' });
    const said = await run(configFile, async (page) => {
      expect(page.searchParams.get('for')).toBe('token');
      await browse(page);
    });
    expect(said).toContain(DONE);
    const tenant = { tokenServiceTenant: 'token' };
    expect(issuerIn(grants, mine(configFile), tenant)).toHaveProperty('silent');
    const { configFile: without } = await configured(op, properties);
    await expect(run(without, () => expect.fail('nobody is asked'))).rejects.toThrow('needs tokenServiceTenant');
  });

  it('minds only the redirect that it waits for', async () => {
    const op = await provider();
    const { configFile } = await configured(op);
    const said = await run(configFile, async (page) => {
      const back = page.searchParams.get('redirect_uri') ?? '';
      for (const query of ['', '?code=evil', '?code=evil&state=guessed', '?error=access_denied&state=guessed']) {
        expect((await fetch(`${back}${query}`)).status).toBe(400);
      }
      await browse(page);
    });
    expect(said).toContain(DONE);
  });

  it.each(['//', 'http://[', '/\\'])('lives on when someone asks for %s', async (path) => {
    const op = await provider();
    const { configFile } = await configured(op);
    const said = await run(configFile, async (page) => {
      const { port } = new URL(page.searchParams.get('redirect_uri') ?? '');
      const asking = request({ host: '127.0.0.1', port, path }).end();
      const [response] = (await once(asking, 'response')) as [IncomingMessage];
      expect(response.resume().statusCode).toBe(400);
      await browse(page);
    });
    expect(said).toContain(DONE);
  });

  it('says that there was no consent', async () => {
    const op = await provider();
    const { configFile, grants } = await configured(op);
    const refusing = run(configFile, async (page) => {
      const { redirect_uri: back, state } = Object.fromEntries(page.searchParams);
      await fetch(`${back}?error=access_denied&state=${state}`);
    });
    await expect(refusing).rejects.toThrow('there was no consent: access_denied');
    expect((await readdir(grants)).filter((name) => name.startsWith('login-'))).toEqual([]);
  });

  it('passes on what the token service says to the code', async () => {
    const op = await provider();
    const { configFile } = await configured(op);
    const forged = run(configFile, async (page) => {
      const { redirect_uri: back, state } = Object.fromEntries(page.searchParams);
      await fetch(`${back}?code=forged&state=${state}`);
    });
    await expect(forged).rejects.toThrow(/^invalid_grant: /);
  });
});

describe('what it refuses before it asks anyone', () => {
  it.each([
    ['other', {}, /no destination file with the name "other"; there are mine/],
    ['mine', { Authentication: 'OAuth2ClientCredentials', clientSecret: 'x' }, /needs no login/],
    ['mine', { 'mail.user': undefined }, /needs mail\.user/],
    ['mine', { issuer: undefined }, /needs authorizationURL or issuer/],
    ['mine', { issuer: 'http://127.0.0.1:9/x' }, /OpenID configuration can't be read/],
  ])('%s with %j', async (name, more, text) => {
    const op = await provider();
    const { configFile } = await configured(op, more);
    await expect(run(configFile, () => expect.fail('nobody is asked'), name)).rejects.toThrow(text);
  });

  it('a destination of the Destination service: it is for files', async () => {
    const op = await provider();
    const { configFile } = await configured(op, {}, [{ name: 'main', binding: './binding' }]);
    const text = 'there are mine. Destinations of the Destination service can have no such grant';
    await expect(run(configFile, () => expect.fail('nobody is asked'), 'other')).rejects.toThrow(text);
  });

  it('an OpenID configuration without an end', async () => {
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ issuer: url, authorization_endpoint: `${url}/auth`, more: 'x'.repeat(131_072) }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => server.close().closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const op = await provider();
    const { configFile } = await configured(op, { issuer: url });
    await expect(run(configFile, () => expect.fail('nobody is asked'))).rejects.toThrow(/more than 131072 octets/);
  });

  it('a destination whose refresh token is in a file', async () => {
    const op = await provider();
    const { configFile } = await configured(op, {
      Authentication: 'OAuth2RefreshToken',
      refreshTokenFile: './token',
    });
    await writeFile(join(configFile, '..', 'destinations', 'token'), 'r\n');
    const { configFile: other } = await configured(op, { Authentication: 'OAuth2RefreshToken' });
    await expect(run(configFile, () => expect.fail('nobody is asked'))).rejects.toThrow(/refreshTokenFile/);
    expect(await run(other, browse)).toContain(DONE);
  });
});

describe('with a code for another device', () => {
  it('waits for the person', async () => {
    const op = await provider();
    const lines: string[] = [];
    const waits: number[] = [];
    const service = tokenService(op.tokenEndpoint, { clientId: 'public', authentication: { kind: 'none' } });
    const client = new TokenClient(service, new URL(op.tokenEndpoint));
    const wait = async (ms: number) => {
      waits.push(ms);
      const code = /enter the code (\S+)/.exec(lines[0] ?? '')?.[1] ?? '';
      if (waits.length === 2) await op.approveDevice(code, JANE);
    };
    const consent = { service, client, user: JANE, say: (line: string) => lines.push(line) };
    const tokens = await consentByDevice(consent, op.deviceAuthorizationEndpoint, wait);
    expect(tokens.refreshToken).toBeDefined();
    expect(waits).toEqual([5000, 5000]);
    expect(op.refusals.map(({ error }) => error)).toEqual(['authorization_pending']);
  });

  /** The client as this part sees it: `device` is what the token service says first, `polls` what it says then. */
  async function asked(device: object, polls: (Error | undefined)[] = []) {
    const said: string[] = [];
    const waits: number[] = [];
    const answers = [...polls];
    const client = {
      authorizeDevice: async () => ({
        device_code: 'd',
        user_code: 'ABCD',
        verification_uri: 'https://t.example/device',
        expires_in: 900,
        ...device,
      }),
      redeemDevice: async () => {
        const answer = answers.shift();
        if (answer) throw answer;
        return { accessToken: 'a', expiresAt: 0, refreshToken: 'r' };
      },
    } as unknown as TokenClient;
    const service = tokenService('https://t.example/token');
    const consent = { service, client, user: JANE, say: (line: string) => said.push(line) };
    const wait = async (ms: number) => waits.push(ms);
    const outcome = await consentByDevice(consent, 'https://t.example/d', wait).catch((error) => error);
    return { said: said.join('\n'), waits, outcome };
  }

  it.each([
    [undefined, 5_000],
    [7, 7_000],
    [0.001, 1_000],
    [61, 60_000],
    [2_147_484, 60_000],
  ])('asks in an interval between 1 and 60 seconds: %s', async (interval, ms) => {
    expect((await asked({ interval })).waits).toEqual([ms]);
  });

  it('asks less often where the server wants it or does not answer, and goes on', async () => {
    const down = () => new Failure('token', 'down');
    const { waits, outcome } = await asked({}, [
      new AuthorizationPending('token', 'pending'),
      new SlowDown('token', 'slow down'),
      ...[down(), down(), down()],
    ]);
    expect(waits).toEqual([5_000, 5_000, 10_000, 20_000, 40_000, 60_000]);
    expect(outcome).toMatchObject({ refreshToken: 'r' });
  });

  it('ends where the person has said no', async () => {
    const { waits, outcome } = await asked({}, [new Failure('token', 'access_denied', { retry: false })]);
    expect([waits.length, outcome.message]).toEqual([1, 'access_denied']);
  });

  it('shows a terminal no control characters', async () => {
    const { said } = await asked({
      user_code: 'AB\x1b[2JCD\r\n',
      verification_uri: 'https://t.example/d\x1b]0;x\x07?a=\u009b1',
      verification_uri_complete: 'https://t.example/d\x1b[2J',
    });
    expect(said).toContain('https://t.example/d%1B]0;x%07');
    expect(said).toContain('the code AB [2JCD');
    expect(said.replaceAll('\n', '')).toMatch(/^[\x20-\x7e]+$/);
  });

  it.each(['javascript:alert(1)', 'file:///etc/passwd', 'no URL'])('shows nobody the page %s', async (uri) => {
    for (const device of [{ verification_uri: uri }, { verification_uri_complete: uri }]) {
      const { said, outcome } = await asked(device);
      expect(outcome.message).toContain('not an http or https URL');
      expect(said).not.toContain(uri);
    }
  });
});

it('is a command of postern', async () => {
  const op = await provider();
  const { configFile } = await configured(op);
  const program = fileURLToPath(new URL('../../../cli/postern.ts', import.meta.url));
  const command = (...args: string[]) =>
    promisify(execFile)(process.execPath, [program, 'login', ...args]).catch((error) => error);
  expect(await command('other', '--config', configFile)).toMatchObject({
    code: 1,
    stderr: 'postern: there is no destination file with the name "other"; there are mine\n',
  });
  expect(await command('mine')).toMatchObject({ code: 2 });
  expect(await command('--config', configFile)).toMatchObject({ code: 2 });
});
