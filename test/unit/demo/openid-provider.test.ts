import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type OpenIdProvider, startOpenIdProvider, tokenId } from '../../../demo/openid-provider.ts';

const MAIL = 'https://mail.example.test';
const OTHER = 'https://other.example.test';
const ANN = 'ann@example.test';
const BOB = 'bob@example.test';
const CALLBACK = 'http://127.0.0.1/callback';

let provider: OpenIdProvider;

beforeAll(async () => {
  provider = await startOpenIdProvider({
    clients: [
      { id: 'robot', secret: 'robot-secret', audience: MAIL, user: ANN },
      { id: 'stranger', secret: 'stranger-secret', audience: OTHER, user: ANN },
      { id: 'app', secret: 'app-secret', audience: MAIL, redirectUris: [CALLBACK] },
      { id: 'desktop', audience: MAIL, redirectUris: [CALLBACK] },
    ],
    resourceServers: [
      { id: 'mail', secret: 'mail-secret', audience: MAIL },
      { id: 'other', secret: 'other-secret', audience: OTHER },
    ],
    users: [ANN, BOB],
    tokenOctets: 1200,
  });
});
afterAll(() => provider?.close());

type Answer = Record<string, string | number | boolean>;

async function post(url: string, form: Record<string, string>): Promise<{ status: number; answer: Answer }> {
  const { username, password, ...rest } = new URL(url);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const response = await fetch(`${rest.origin ?? new URL(url).origin}${new URL(url).pathname}`, {
    method: 'POST',
    headers: username ? { authorization } : {},
    body: new URLSearchParams(form),
  });
  const text = await response.text();
  return { status: response.status, answer: text ? JSON.parse(text) : {} };
}

const token = (form: Record<string, string>) => post(provider.tokenEndpoint, form);
const secretOf = (client: string) => ({ client_id: client, client_secret: `${client}-secret` });
const check = async (value: string, by = 'mail') =>
  (await post(provider.introspectionUrl(by), { token: value })).answer;

it('a client gets a long opaque token for its mailbox, which its own audience may check', async () => {
  const { status, answer } = await token({ grant_type: 'client_credentials', scope: 'mail', ...secretOf('robot') });
  expect({ status, ...answer }).toMatchObject({ status: 200, expires_in: 3600, token_type: 'Bearer', scope: 'mail' });
  const value = `${answer.access_token}`;
  expect(value).toMatch(/^[\w-]{1200}$/);
  expect(await check(value)).toMatchObject({ active: true, username: ANN, aud: MAIL, scope: 'mail' });
  expect(await check(value, 'other')).toEqual({ active: false });
  const id = tokenId(value);
  expect(provider.log.at(-1)).toEqual({
    grant: 'client_credentials',
    tokenId: id,
    client: 'robot',
    user: ANN,
    audience: MAIL,
  });
  expect(provider.checks.slice(-2)).toEqual([
    { tokenId: id, by: 'mail', active: true },
    { tokenId: id, by: 'other', active: false },
  ]);
});

it('a wrong secret, an unknown audience, a grant that is not the client’s: refused, and nothing is issued', async () => {
  const before = provider.log.length;
  const wrong = await token({ grant_type: 'client_credentials', client_id: 'robot', client_secret: 'wrong' });
  expect(wrong).toMatchObject({ status: 401, answer: { error: 'invalid_client' } });
  const target = { grant_type: 'client_credentials', resource: 'https://nowhere.test', ...secretOf('robot') };
  expect(await token(target)).toMatchObject({ status: 400, answer: { error: 'invalid_target' } });
  const grant = await token({ grant_type: 'client_credentials', ...secretOf('app') });
  expect(grant).toMatchObject({ status: 400, answer: { error: 'invalid_request' } });
  expect(provider.log).toHaveLength(before);
  expect(provider.refusals.map(({ error }) => error)).toEqual(
    expect.arrayContaining(['invalid_client', 'invalid_target', 'invalid_request']),
  );
});

it('a code works once, with its verifier; its refresh token rotates, and a second use ends the grant', async () => {
  const verifier = randomBytes(32).toString('base64url');
  const codeChallenge = createHash('sha256').update(verifier).digest('base64url');
  const code = await provider.authorizationCode({ client: 'app', user: BOB, codeChallenge });
  const request = { grant_type: 'authorization_code', code, redirect_uri: CALLBACK, ...secretOf('app') };
  expect(await token(request)).toMatchObject({ status: 400, answer: { error: 'invalid_grant' } });
  const first = await token({ ...request, code_verifier: verifier });
  expect(await check(`${first.answer.access_token}`)).toMatchObject({ active: true, username: BOB });
  const refresh = { grant_type: 'refresh_token', refresh_token: `${first.answer.refresh_token}`, ...secretOf('app') };
  const second = await token(refresh);
  expect(second.answer.refresh_token).not.toBe(first.answer.refresh_token);
  expect(await check(`${second.answer.access_token}`)).toMatchObject({ active: true, username: BOB });
  expect(provider.log.slice(-2).map(({ grant, user }) => [grant, user])).toEqual([
    ['authorization_code', BOB],
    ['refresh_token', BOB],
  ]);
  expect(await token(refresh)).toMatchObject({ status: 400, answer: { error: 'invalid_grant' } });
  expect(await check(`${second.answer.access_token}`)).toEqual({ active: false });
});

it('what was revoked is not active any more; the user’s refresh token still works, until the grant is revoked', async () => {
  const refreshToken = await provider.refreshToken({ client: 'app', user: BOB });
  const refresh = (value: string) => token({ grant_type: 'refresh_token', refresh_token: value, ...secretOf('app') });
  const first = await refresh(refreshToken);
  const ann = await provider.accessToken({ client: 'app', user: ANN });
  expect(provider.revokeAccessTokens(BOB)).toBeGreaterThan(0);
  expect(await check(`${first.answer.access_token}`)).toEqual({ active: false });
  expect(await check(ann)).toMatchObject({ active: true, username: ANN });
  const second = await refresh(`${first.answer.refresh_token}`);
  expect(second.status).toBe(200);
  provider.revokeGrants(BOB);
  expect((await refresh(`${second.answer.refresh_token}`)).status).toBe(400);
  await post(provider.revocationEndpoint, { token: ann, ...secretOf('app') });
  expect(await check(ann)).toEqual({ active: false });
});

it('an expired token is not active', async () => {
  const short = await provider.accessToken({ client: 'app', user: ANN, seconds: 1 });
  expect(await check(short)).toMatchObject({ active: true });
  await expect.poll(() => check(short), { timeout: 3_000 }).toEqual({ active: false });
});

/** As a browser does: follows redirects with cookies until one leads away from the provider. */
async function browse(start: string): Promise<URL> {
  const cookies = new Map<string, string>();
  let url = new URL(start);
  while (url.origin === provider.issuer) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]*)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${response.status} ${await response.text()}`);
    url = new URL(location, url);
  }
  return url;
}

it('a browser that comes to the authorization endpoint of a public client consents at once', async () => {
  const verifier = randomBytes(32).toString('base64url');
  const redirectUri = 'http://127.0.0.1:49152/callback';
  const query = new URLSearchParams({
    client_id: 'desktop',
    response_type: 'code',
    scope: 'mail offline_access',
    redirect_uri: redirectUri,
    state: 'state',
    login_hint: BOB,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  const back = await browse(`${provider.authorizationEndpoint}?${query}`);
  expect(`${back.origin}${back.pathname}`).toBe(redirectUri);
  expect(back.searchParams.get('state')).toBe('state');
  const code = `${back.searchParams.get('code')}`;
  const request = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, client_id: 'desktop' };
  expect((await token(request)).status).toBe(400);
  const { answer } = await token({ ...request, code_verifier: verifier });
  expect(await check(`${answer.access_token}`)).toMatchObject({ active: true, username: BOB, aud: MAIL });
  expect(answer.refresh_token).toEqual(expect.any(String));
});

it('a device waits until its code is approved', async () => {
  const { answer } = await post(provider.deviceAuthorizationEndpoint, {
    client_id: 'desktop',
    scope: 'mail offline_access',
  });
  const poll = () =>
    token({
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      device_code: `${answer.device_code}`,
      client_id: 'desktop',
    });
  expect(await poll()).toMatchObject({ status: 400, answer: { error: 'authorization_pending' } });
  await provider.approveDevice(`${answer.user_code}`, BOB);
  const { answer: tokens } = await poll();
  expect(await check(`${tokens.access_token}`)).toMatchObject({ active: true, username: BOB });
  expect(tokens.refresh_token).toEqual(expect.any(String));
});
