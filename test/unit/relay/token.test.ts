import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { Tokens } from '../../../sidecar-auth/relay/token.ts';
import type { TokenSource } from '../../../sidecar-auth/relay-target.ts';
import { afterwards, deadPort, temporaryFolder } from './world.ts';

const SECRET = 'k$e=y/+%';
const CLIENT = 'sb-clone!b123|connectivity!b5';

async function file(content: string): Promise<{ source: TokenSource; path: string }> {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, content);
  return { source: { kind: 'file', file: path }, path };
}

/** A token service on loopback; `answer` gets the form that was posted and the number of the request. */
async function tokenService(answer: (form: URLSearchParams, count: number, response: ServerResponse) => unknown) {
  const asked: { method: string | undefined; path: string | undefined; form: URLSearchParams }[] = [];
  const service = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const form = new URLSearchParams(await text(request));
    asked.push({ method: request.method, path: request.url, form });
    const body = await answer(form, asked.length, response);
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(service, 'listening');
  afterwards(() => {
    service.closeAllConnections();
    service.close();
  });
  return { url: `http://127.0.0.1:${(service.address() as AddressInfo).port}`, asked };
}

const issued = (_form: URLSearchParams, count: number) => ({
  access_token: `jwt-${count}`,
  token_type: 'bearer',
  expires_in: 3600,
});

async function jsonBinding(values: Record<string, unknown>): Promise<{ source: TokenSource; path: string }> {
  const { path } = await file(JSON.stringify(values));
  return { source: { kind: 'binding', path }, path };
}

const binding = (url: string) => jsonBinding({ clientid: CLIENT, clientsecret: SECRET, url });

/** The failure, of code `token` and without the secret in any depth. */
async function failure(source: TokenSource): Promise<string> {
  const error: Error = await new Tokens().get(source).then(
    () => expect.fail('no failure'),
    (reason) => reason,
  );
  expect(error).toMatchObject({ code: 'token' });
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(SECRET);
  return error.message;
}

describe('none and file', () => {
  it('none is no token', async () => expect(await new Tokens().get({ kind: 'none' })).toBeUndefined());

  it('strips one line end, and reads again when the file changes', async () => {
    const { source, path } = await file('first\n');
    const tokens = new Tokens();
    expect(await tokens.get(source)).toBe('first');
    await writeFile(path, 'second-token\r\n');
    expect(await tokens.get(source)).toBe('second-token');
  });

  it('refuses what is no token: nothing, spaces, more lines, other letters, too much', async () => {
    for (const content of ['', '\n', 'a b', 'a\nb', ' a', 'a\n\n', 'tökén', 'a\u0000', 'x'.repeat(70_000)]) {
      expect(await failure((await file(content)).source)).toMatch(/ASCII|larger/);
    }
    expect(await new Tokens().get((await file('x'.repeat(65_536))).source)).toHaveLength(65_536);
  });

  it('says what is wrong with a missing file', async () => {
    expect(await failure({ kind: 'file', file: join(await temporaryFolder(), 'missing') })).toMatch(/ENOENT/);
  });
});

describe('binding', () => {
  it('gets a token with the client credentials grant, as XSUAA reads them', async () => {
    const { url, asked } = await tokenService(issued);
    const { source } = await binding(`${url}/`);
    expect(await new Tokens().get(source)).toBe('jwt-1');
    expect(asked).toMatchObject([{ method: 'POST', path: '/oauth/token' }]);
    const form = { grant_type: 'client_credentials', client_id: CLIENT, client_secret: SECRET };
    expect(Object.fromEntries(asked[0]?.form ?? [])).toEqual(form);
  });

  it('reads a folder with one file per key', async () => {
    const { url, asked } = await tokenService(issued);
    const path = await temporaryFolder();
    const values = { clientid: CLIENT, clientsecret: `${SECRET}\n`, url, xsappname: 'other' };
    for (const [key, value] of Object.entries(values)) await writeFile(join(path, key), value);
    await mkdir(join(path, '..data'));
    const tokens = new Tokens();
    expect(await tokens.get({ kind: 'binding', path })).toBe('jwt-1');
    await writeFile(join(path, 'clientsecret'), 'another');
    expect(await tokens.get({ kind: 'binding', path })).toBe('jwt-2');
    expect(asked.map(({ form }) => form.get('client_secret'))).toEqual([SECRET, 'another']);
  });

  it('keeps a token, shares one request, and renews it early', async () => {
    const { url, asked } = await tokenService(issued);
    const { source } = await binding(url);
    vi.useFakeTimers({ toFake: ['Date'] });
    afterwards(() => vi.useRealTimers());
    const tokens = new Tokens();
    const together = await Promise.all(Array.from({ length: 20 }, () => tokens.get(source)));
    expect(new Set(together)).toEqual(new Set(['jwt-1']));
    vi.setSystemTime(Date.now() + 2990_000);
    expect(await tokens.get(source)).toBe('jwt-1');
    expect(asked).toHaveLength(1);
    vi.setSystemTime(Date.now() + 20_000); // the early renewal begins, and the old one is used meanwhile
    expect(await tokens.get(source)).toBe('jwt-1');
    vi.setSystemTime(Date.now() + 580_000);
    expect(await tokens.get(source)).toBe('jwt-2');
    expect(asked).toHaveLength(2);
  });

  it('asks again after the proxy refused a token, but not for each refusal', async () => {
    const { url, asked } = await tokenService(issued);
    const { source } = await binding(url);
    const tokens = new Tokens();
    expect(await tokens.get(source)).toBe('jwt-1');
    tokens.refused(source, 'jwt-1');
    tokens.refused(source, 'jwt-1'); // by a connection that had it, too
    expect(await tokens.get(source)).toBe('jwt-2');
    let failed = 0;
    for (let attempt = 0; attempt < 20; attempt++) {
      const token = await tokens
        .get(source)
        .catch((error) => void expect(error).toMatchObject({ code: 'token', retry: true }));
      if (token === undefined) failed++;
      tokens.refused(source, token ?? undefined);
    }
    expect(failed).toBeGreaterThan(10);
    expect(asked.length).toBeLessThan(6);
  });

  it('bridges faults of the token service', async () => {
    const { url, asked } = await tokenService((form, count, response) => {
      if (count > 2) return issued(form, count);
      response.statusCode = 503;
      return {};
    });
    expect(await new Tokens().get((await binding(url)).source)).toBe('jwt-3');
    expect(asked).toHaveLength(3);
  });

  it('tells what the token service refuses by its code, never by its text', async () => {
    const { url } = await tokenService((form, _count, response) => {
      response.statusCode = 401;
      return { error: 'invalid_client', error_description: `wrong secret ${form.get('client_secret')}` };
    });
    expect(await failure((await binding(url)).source)).toMatch(/refused the request: invalid_client \(401\)$/);
  });

  it('follows no redirect and takes no other answer for a token', async () => {
    const answers: ((response: ServerResponse) => unknown)[] = [
      (response) => {
        response.statusCode = 302;
        response.setHeader('location', '/elsewhere');
      },
      () => ({ access_token: `leak ${SECRET}`, token_type: 'bearer', expires_in: -1 }),
      () => ({ access_token: 'x', token_type: 'mac', expires_in: 60 }),
      () => ({}),
    ];
    for (const answer of answers) {
      const { url, asked } = await tokenService((_form, _count, response) => answer(response));
      expect(await failure((await binding(url)).source)).toMatch(/gave an answer that is no token/);
      expect(asked).toHaveLength(1);
    }
  });

  it('says that the token service cannot be reached', async () => {
    const { source } = await binding(`http://127.0.0.1:${await deadPort()}`);
    expect(await failure(source)).toMatch(/cannot be reached \(ECONNREFUSED\)$/);
  });

  it('sends the secret over https only, but for loopback', async () => {
    expect(await failure((await binding('http://token.example')).source)).toMatch(/must be an https address/);
    expect(await failure((await binding('ftp://127.0.0.1')).source)).toMatch(/must be an https address/);
    expect(await failure((await binding('http://127.0.0.1.evil.example')).source)).toMatch(/must be an https address/);
    expect(await failure((await binding('https://user:pass@token.example')).source)).toMatch(/without credentials/);
    expect(await failure((await binding('token.example')).source)).toMatch(/must be an https address/);
  });

  it('says what a binding lacks, without quoting it', async () => {
    expect(await failure((await jsonBinding({ clientid: CLIENT, clientsecret: SECRET })).source)).toMatch(/has no url/);
    expect(await failure((await jsonBinding({ clientid: CLIENT, clientsecret: 7, url: 'x' })).source)).toMatch(
      /clientsecret/,
    );
    const broken = await file(`{"clientsecret": "${SECRET}" oops`);
    expect(await failure({ kind: 'binding', path: broken.path })).toMatch(/not valid JSON/);
    const list = await file('null');
    expect(await failure({ kind: 'binding', path: list.path })).toMatch(/has no clientid/);
    const empty = await temporaryFolder();
    expect(await failure({ kind: 'binding', path: empty })).toMatch(/empty folder/);
    expect(await failure({ kind: 'binding', path: join(empty, 'none') })).toMatch(/ENOENT/);
  });
});
