import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type OpenIdProvider, tokenId } from '../../../demo/openid-provider.ts';
import type { Destination } from '../../../sidecar-auth/destination/destination.ts';
import { TokenCache } from '../../../sidecar-auth/token/cache.ts';
import { ownerOf } from '../../../sidecar-auth/token/file-issuer.ts';
import type { TokenIssuer } from '../../../sidecar-auth/token/issuer.ts';
import { destination, JANE, provider, REDIRECT, temporaryFolder, tokenService } from './world.ts';
import { grantsIn, issuerIn } from './world-issuer.ts';

const WHO = { client: 'web', user: JANE };

/** The access token's value, through the method that such an app needs. */
async function exchange(issuer: TokenIssuer, presented: string, user = JANE): Promise<string> {
  if (!issuer.exchange) return expect.fail('takes no token of an app');
  return (await issuer.exchange(user, presented)).value;
}

async function silent(issuer: TokenIssuer): Promise<string> {
  if (!issuer.silent) return expect.fail('has no token for a silent app');
  return (await issuer.silent()).value;
}

function refreshing(op: OpenIdProvider): Destination {
  return destination('refresh_token', tokenService(op.tokenEndpoint));
}

function redeeming(op: OpenIdProvider): Destination {
  return destination('authorization_code', tokenService(op.tokenEndpoint, { redirectUri: REDIRECT }));
}

/** Every octet below a folder. */
async function contents(folder: string): Promise<string> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), 'utf8'));
  return (await Promise.all(texts)).join('\n');
}

describe('client credentials', () => {
  it('are for silent apps only', async () => {
    const op = await provider();
    const to = destination(
      'client_credentials',
      tokenService(op.tokenEndpoint, { clientId: 'service', scope: 'mail' }),
    );
    const issuer = issuerIn(await temporaryFolder(), to);
    const token = await silent(issuer);
    expect(op.log).toMatchObject([{ grant: 'client_credentials', tokenId: tokenId(token) }]);
    expect(await silent(issuer)).toBe(token);
    expect(issuer).not.toHaveProperty('exchange');
  });

  it('a refused token is not handed out again', async () => {
    const op = await provider();
    const to = destination(
      'client_credentials',
      tokenService(op.tokenEndpoint, { clientId: 'service', scope: 'mail' }),
    );
    const issuer = issuerIn(await temporaryFolder(), to);
    const token = await silent(issuer);
    issuer.refused(token);
    expect(await silent(issuer)).not.toBe(token);
  });
});

describe('a refresh token', () => {
  it('presented by 200 at once, with an expired access token, makes one request', async () => {
    const op = await provider({ ttl: { accessToken: 10 } }); // seconds: too few to be handed out again
    const issuer = issuerIn(await temporaryFolder(), refreshing(op));
    const presented = await op.refreshToken(WHO);
    await exchange(issuer, presented);
    const values = await Promise.all(Array.from({ length: 200 }, () => exchange(issuer, presented)));
    expect(new Set(values).size).toBe(1);
    expect(op.log).toHaveLength(2);
    expect(op.refusals).toEqual([]);
  });

  it('is followed where it rotates, over restarts, and by helpers that take turns', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const presented = await op.refreshToken(WHO);
    const seen = new Set<string>();
    for (let turn = 0; turn < 4; turn++) {
      const issuer = issuerIn(folder, refreshing(op));
      const token = await exchange(issuer, presented);
      seen.add(token);
      issuer.refused(token);
      seen.add(await exchange(issuer, presented));
      op.revokeAccessTokens(JANE);
      issuer.refused(await exchange(issuer, presented));
    }
    expect(op.refusals).toEqual([]);
    expect(seen.size).toBeGreaterThan(4);
  });

  it('presented to two helpers at once is used by one of them; the other follows', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const presented = await op.refreshToken(WHO);
    const helpers = [issuerIn(folder, refreshing(op)), issuerIn(folder, refreshing(op))];
    await Promise.all(helpers.map((issuer) => exchange(issuer, presented)));
    expect([op.log.length, op.refusals]).toEqual([2, []]);
  });

  it('that is no good is refused once, whoever asks how often', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const issuer = issuerIn(folder, refreshing(op));
    const attempts = Array.from({ length: 20 }, () => exchange(issuer, 'geheim-falsch'));
    const results = await Promise.allSettled(attempts);
    await expect(exchange(issuer, 'geheim-falsch')).rejects.toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringMatching(/^invalid_grant: /),
    });
    expect(JSON.stringify(results)).not.toContain('geheim');
    expect(op.refusals).toHaveLength(1);
    // And the store is not filled by it.
    expect((await readdir(folder)).filter((name) => name.startsWith('grant-'))).toEqual([]);
  });

  it('whose consent was withdrawn is refused', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const presented = await op.refreshToken(WHO);
    const issuer = issuerIn(folder, refreshing(op));
    issuer.refused(await exchange(issuer, presented));
    op.revokeGrants(JANE);
    await expect(exchange(issuer, presented)).rejects.toThrow('invalid_grant');
  });

  it('serves nobody who did not present it, and no other user, destination or tenant', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const cache = new TokenCache();
    const presented = await op.refreshToken(WHO);
    const token = await exchange(issuerIn(folder, refreshing(op), { cache }), presented);
    const others = [
      exchange(issuerIn(folder, refreshing(op), { cache }), `${presented}x`),
      exchange(issuerIn(folder, refreshing(op), { cache }), presented, 'max@example.com'),
      exchange(issuerIn(folder, { ...refreshing(op), name: 'other' }, { cache }), presented),
      exchange(issuerIn(folder, refreshing(op), { cache, tenant: 'other' }), presented),
    ];
    for (const result of await Promise.allSettled(others)) expect(result).not.toMatchObject({ value: token });
    expect(issuerIn(folder, refreshing(op), { cache })).not.toHaveProperty('silent');
  });

  it('is not readable in the store, nor is what followed it', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const presented = await op.refreshToken(WHO);
    const token = await exchange(issuerIn(folder, refreshing(op)), presented);
    const all = await contents(folder);
    expect(all).toContain('content');
    for (const secret of [presented, token, JANE, 'refreshToken']) expect(all).not.toContain(secret);
  });

  it('from a file stands in for an app that brings nothing; what an app brings wins', async () => {
    const op = await provider();
    const refreshToken = await op.refreshToken(WHO);
    const to = destination('refresh_token', tokenService(op.tokenEndpoint, { refreshToken }));
    const folder = await temporaryFolder();
    const issuer = issuerIn(folder, to);
    const token = await silent(issuer);
    expect(await silent(issuer)).toBe(token);
    expect(await silent(issuerIn(folder, to))).not.toBe(token);
    expect(await exchange(issuer, await op.refreshToken(WHO))).not.toBe(token);
    expect(op.refusals).toEqual([]);
  });

  it('goes on with the store out of order, and stores later', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const grants = grantsIn(folder);
    const presented = await op.refreshToken(WHO);
    const owner = ownerOf('office-mail', tokenService(op.tokenEndpoint), JANE, {});
    const away = `${folder}-away`;
    onTestFinished(() => rm(away, { recursive: true, force: true }));
    const renewed = await grants.presented(owner, presented, async () => {
      await rename(folder, away);
      await writeFile(folder, '');
      return { accessToken: 'renewed', expiresAt: Date.now() + 3_600_000, refreshToken: 'next' };
    });
    expect(renewed.accessToken).toBe('renewed');
    await rm(folder);
    await rename(away, folder);
    const followed: unknown[] = [];
    for (const one of [grants, grantsIn(folder)])
      await one.presented(owner, presented, async (last) => {
        followed.push(last?.refreshToken);
        return { accessToken: 'next', expiresAt: Date.now() + 3_600_000, refreshToken: 'next' };
      });
    expect(followed).toEqual(['next', 'next']);
  });
});

describe('an authorization code', () => {
  it('is redeemed once; then the refresh token that came with it is used', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const code = await op.authorizationCode(WHO);
    for (let restart = 0; restart < 3; restart++) {
      const issuer = issuerIn(folder, redeeming(op));
      issuer.refused(await exchange(issuer, code));
      issuer.refused(await exchange(issuer, code));
    }
    expect(op.refusals).toEqual([]);
    expect(op.log.map(({ grant }) => grant)).toEqual(
      ['authorization_code', ...Array(5).fill('refresh_token')].slice(0, op.log.length),
    );
    expect(op.log.length).toBeGreaterThan(2);
  });

  it("takes the listener's redirect URI and verifier", async () => {
    const op = await provider();
    const codeVerifier = 'v'.repeat(43);
    const digest = await crypto.subtle.digest('SHA-256', Buffer.from(codeVerifier));
    const codeChallenge = Buffer.from(digest).toString('base64url');
    const folder = await temporaryFolder();
    const code = await op.authorizationCode({ ...WHO, codeChallenge });
    await expect(exchange(issuerIn(folder, redeeming(op)), code)).rejects.toThrow('invalid_grant');
    const next = await op.authorizationCode({ ...WHO, codeChallenge });
    const issuer = issuerIn(folder, redeeming(op), { redirectUri: REDIRECT, codeVerifier });
    expect(await exchange(issuer, next)).toBeTruthy();
  });

  it('without a refresh token is good until its access token ends, over a restart too; then the error says so', async () => {
    const folder = await temporaryFolder();
    let requests = 0;
    const fetch = async () => {
      requests++;
      return Response.json({ access_token: 'only', token_type: 'Bearer', expires_in: 3600 });
    };
    const to = destination('authorization_code', tokenService('https://login.example.com/token'));
    const issuer = () => issuerIn(folder, structuredClone(to), { fetch });
    expect(await exchange(issuer(), 'code')).toBe('only');
    const again = issuer();
    expect(await exchange(again, 'code')).toBe('only');
    again.refused('only');
    await expect(exchange(again, 'code')).rejects.toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringContaining('is used up, and no refresh token came with it'),
    });
    expect(requests).toBe(1);
  });
});

describe('a grant of postern login', () => {
  it('makes a destination silent from then on, and is followed', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const grants = grantsIn(folder);
    const owner = ownerOf('office-mail', tokenService(op.tokenEndpoint), JANE, {});
    expect(issuerIn(folder, redeeming(op), { grants })).not.toHaveProperty('silent');
    const refreshToken = await op.refreshToken(WHO);
    await grants.storeLogin(owner, { accessToken: 'stale', expiresAt: 0, refreshToken });
    const first = issuerIn(folder, redeeming(op));
    first.refused(await silent(first));
    await silent(first);
    await silent(issuerIn(folder, redeeming(op)));
    expect([op.log.length, op.refusals]).toEqual([3, []]);
    const [name = ''] = (await readdir(folder)).filter((one) => one.startsWith('login-'));
    const [version = '', ...more] = await readdir(join(folder, name));
    expect([(await stat(join(folder, name, version))).mode & 0o777, more]).toEqual([0o600, []]);
  });

  it('is not for an app that happens to call itself so', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const cache = new TokenCache();
    const owner = ownerOf('office-mail', tokenService(op.tokenEndpoint), JANE, {});
    const refreshToken = await op.refreshToken(WHO);
    await grantsIn(folder).storeLogin(owner, { accessToken: 'stale', expiresAt: 0, refreshToken });
    const issuer = issuerIn(folder, redeeming(op), { cache });
    await silent(issuer);
    await expect(exchange(issuer, JANE, 'postern login')).rejects.toThrow('invalid_grant');
    expect(await silent(issuer)).toBeDefined();
  });

  it('is for this very destination, and says what to do when it ends', async () => {
    const op = await provider();
    const folder = await temporaryFolder();
    const owner = ownerOf('office-mail', tokenService(op.tokenEndpoint), JANE, {});
    const refreshToken = await op.refreshToken(WHO);
    await grantsIn(folder).storeLogin(owner, { accessToken: 'stale', expiresAt: 0, refreshToken });
    const own = redeeming(op);
    for (const other of [
      { ...own, name: 'other' },
      { ...own, login: { ...own.login, user: 'max@example.com' } },
      destination('authorization_code', tokenService(`${op.tokenEndpoint}/else`)),
      destination('authorization_code', tokenService(op.tokenEndpoint, { clientId: 'public' })),
    ] as Destination[]) {
      expect(issuerIn(folder, other)).not.toHaveProperty('silent');
    }
    expect(issuerIn(folder, own, { tenant: 'other' })).not.toHaveProperty('silent');
    op.revokeGrants(JANE);
    await expect(silent(issuerIn(folder, own))).rejects.toThrow(/^invalid_grant: .* run "postern login" again$/);
  });
});

describe('helpers that are processes of their own', () => {
  const PROGRAM = fileURLToPath(new URL('./helper-process.ts', import.meta.url));

  function helper(folder: string, to: Destination) {
    const child = spawn(process.execPath, [PROGRAM, JSON.stringify({ folder, destination: to })], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const ask = async (token: string): Promise<string> => {
      child.stdin.write(`${JANE} ${token}\n`);
      return `${(await lines.next()).value ?? '! it has ended'}`;
    };
    const kill = async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    return { ask, kill };
  }

  it('killed right after a rotation, and asked in turn: all keep working', async () => {
    // So short that each question needs a refresh.
    const op = await provider({ ttl: { accessToken: 10 } });
    const folder = await temporaryFolder();
    const presented = await op.refreshToken(WHO);
    const doomed = helper(folder, refreshing(op));
    const first = await doomed.ask(presented);
    await doomed.kill();
    const [one, two] = [helper(folder, refreshing(op)), helper(folder, refreshing(op))];
    const values = [first];
    for (const next of [one, two, one, two]) values.push(await next.ask(presented));
    expect(values.filter((value) => value.startsWith('!'))).toEqual([]);
    expect(new Set(values).size).toBe(5);
    const both = await Promise.all([one.ask(presented), two.ask(presented)]);
    expect(both.filter((value) => value.startsWith('!'))).toEqual([]);
    expect(op.refusals).toEqual([]);
  });
});
