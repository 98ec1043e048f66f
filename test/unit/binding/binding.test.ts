import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { toBinding } from '../../../sidecar-auth/binding/binding.ts';
import { placeOf } from '../../../sidecar-auth/binding/place.ts';
import { BindingTokens } from '../../../sidecar-auth/binding/tokens.ts';
import { fetchesOf, Outage } from '../../../sidecar-auth/http.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const KEY = {
  clientid: 'sb-clone!b1|destination!b2',
  clientsecret: 's3cret',
  url: 'https://acme.auth.example',
  uri: 'https://destination.example',
};

async function folder(files: Record<string, string> = {}): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'postern-binding-'));
  cleanups.push(() => rm(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  return path;
}

async function read(where: string, env: NodeJS.ProcessEnv = {}) {
  return toBinding(await (await placeOf(where, env)).read());
}

async function root(bindings: Record<string, Record<string, string>>): Promise<NodeJS.ProcessEnv> {
  const path = await folder();
  for (const [name, files] of Object.entries(bindings)) {
    await mkdir(join(path, name));
    for (const [key, value] of Object.entries(files)) await writeFile(join(path, name, key), value);
  }
  return { SERVICE_BINDING_ROOT: path };
}

describe('by path', () => {
  it.each<[string, Record<string, string>]>([
    ['one file per key', KEY],
    ['line ends after the values', Object.fromEntries(Object.entries(KEY).map(([key, value]) => [key, `${value}\n`]))],
    ['one JSON file in the folder', { 'service-key': JSON.stringify(KEY), type: 'destination' }],
    ['credentials in a file of the folder', { credentials: JSON.stringify(KEY), type: 'destination' }],
    [
      'uaa in a file beside others',
      { uaa: JSON.stringify({ ...KEY, uri: undefined }), uri: KEY.uri, clientid: KEY.clientid },
    ],
  ])('a folder with %s', async (_what, files) => {
    expect(await read(await folder(files))).toEqual(KEY);
  });

  it.each<[string, object]>([
    ['as it is', KEY],
    ['in credentials', { name: 'x', credentials: KEY }],
    ['with more keys', { ...KEY, identityzone: 'acme', xsappname: 'x', 'credential-type': 'binding-secret' }],
  ])('a JSON file %s', async (_what, content) => {
    const path = await folder({ 'binding.json': JSON.stringify(content) });
    expect(await read(join(path, 'binding.json'))).toMatchObject(KEY);
  });

  it('a certificate where there is no secret, and its own address', async () => {
    const { clientsecret, ...rest } = KEY;
    const x509 = { ...rest, certificate: 'CERT', key: 'KEY', certurl: 'https://acme.auth.cert.example' };
    const path = await folder({ 'binding.json': JSON.stringify(x509) });
    const { url, uri, clientid } = { ...KEY, url: x509.certurl };
    expect(await read(join(path, 'binding.json'))).toEqual({
      clientid,
      url,
      uri,
      certificate: { cert: 'CERT', key: 'KEY' },
    });
    expect(clientsecret).toBeTruthy();
  });
});

describe('by name', () => {
  it('in SERVICE_BINDING_ROOT: folder, then instance_name, then type', async () => {
    const env = await root({
      one: { ...KEY, clientid: 'one', type: 'destination', instance_name: 'first' },
      two: { ...KEY, clientid: 'two', type: 'connectivity', instance_name: 'one' },
    });
    expect((await read('one', env)).clientid).toBe('one');
    expect((await read('first', env)).clientid).toBe('one');
    expect((await read('connectivity', env)).clientid).toBe('two');
    await expect(read('third', env)).rejects.toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringContaining('third'),
    });
  });

  it('in VCAP_SERVICES: by the names of binding and instance, or the service', async () => {
    const entry = (name: string, label: string, extra = {}) => ({
      name,
      label,
      credentials: { ...KEY, clientid: name },
      ...extra,
    });
    const services = {
      destination: [entry('a', 'destination', { instance_name: 'x' }), entry('b', 'destination')],
      connectivity: [entry('c', 'connectivity')],
    };
    const env = { VCAP_SERVICES: JSON.stringify(services) };
    expect((await read('b', env)).clientid).toBe('b');
    expect((await read('x', env)).clientid).toBe('a');
    expect((await read('connectivity', env)).clientid).toBe('c');
    await expect(read('destination', env)).rejects.toMatchObject({ message: expect.stringContaining('more than one') });
    await expect(read('b', { VCAP_SERVICES: '{"s3cret' })).rejects.toMatchObject({
      message: 'VCAP_SERVICES is not valid JSON',
    });
  });

  it('two of one type answer to their own names only', async () => {
    const env = await root({ one: { ...KEY, type: 'destination' }, two: { ...KEY, type: 'destination' } });
    await expect(read('destination', env)).rejects.toMatchObject({ message: expect.stringContaining('more than one') });
    expect((await read('two', env)).clientid).toBe(KEY.clientid);
  });
});

it('what is too large or too much is no binding', async () => {
  const many = await folder(Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`file${index}`, 'x'])));
  await expect(read(many)).rejects.toMatchObject({ code: 'token', retry: false });
  const large = await folder({ clientid: 'x'.repeat(70_000) });
  await expect(read(large)).rejects.toMatchObject({ code: 'token', retry: false });
});

describe('tokens', () => {
  async function tokenService(more: object = {}) {
    const asked: { host: string; secret: string | null }[] = [];
    const server = createServer(async (request, response) => {
      const form = new URLSearchParams(await text(request));
      asked.push({ host: `${request.headers.host}`.replace(/:.*/, ''), secret: form.get('client_secret') });
      response.setHeader('content-type', 'application/json');
      const token = { access_token: `jwt-${asked.length}`, token_type: 'bearer', expires_in: 3600, ...more };
      response.end(JSON.stringify(token));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    return { url: `http://provider.localhost:${(server.address() as AddressInfo).port}`, asked };
  }

  it("are the subscriber's, from its own subdomain, and never mixed", async () => {
    const { url, asked } = await tokenService();
    const path = await folder({ 'b.json': JSON.stringify({ ...KEY, url, identityzone: 'provider' }) });
    const tokens = new BindingTokens({ fetchWith: fetchesOf() });
    const of = async (tenant?: string) => (await tokens.get(join(path, 'b.json'), tenant)).value;
    const all = [await of(), await of('acme'), await of('umbrella'), await of('acme'), await of()];
    expect(all).toEqual(['jwt-1', 'jwt-2', 'jwt-3', 'jwt-2', 'jwt-1']);
    expect(asked.map(({ host }) => host)).toEqual(['provider.localhost', 'acme.localhost', 'umbrella.localhost']);
    for (const tenant of ['', 'a.b', 'evil.example/', 'a b', '-a', 'a@b']) {
      await expect(of(tenant)).rejects.toMatchObject({ code: 'token', retry: false });
    }
    const plain = await folder({
      'b.json': JSON.stringify({ ...KEY, url: url.replace('provider.localhost', '127.0.0.1') }),
    });
    await expect(tokens.get(join(plain, 'b.json'), 'acme')).rejects.toMatchObject({
      message: expect.stringContaining('no subdomain'),
    });
  });

  it('of a mounted secret that Kubernetes swaps are new with it', async () => {
    const { url, asked } = await tokenService();
    const mount = await folder();
    const put = async (name: string, secret: string) => {
      await mkdir(join(mount, name));
      for (const [key, value] of Object.entries({ ...KEY, url, clientsecret: secret }))
        await writeFile(join(mount, name, key), value);
      await symlink(name, join(mount, '..next'));
      await rename(join(mount, '..next'), join(mount, '..data'));
    };
    await put('..2026_1', 'old');
    for (const key of Object.keys(KEY)) await symlink(join('..data', key), join(mount, key));
    const tokens = new BindingTokens({ fetchWith: fetchesOf() });
    expect((await tokens.get(mount)).value).toBe('jwt-1');
    expect((await tokens.get(mount)).value).toBe('jwt-1');
    await put('..2026_2', 'new');
    expect((await tokens.get(mount)).value).toBe('jwt-2');
    expect(asked.map(({ secret }) => secret)).toEqual(['old', 'new']);
  });

  it('outlive a touched, a half written and a missing file, and not a rotated one', async () => {
    const { url } = await tokenService();
    const file = join(await folder(), 'b.json');
    const write = (more: object) => writeFile(file, JSON.stringify({ ...KEY, url, ...more }));
    const logged: object[] = [];
    const log = { warn: (details: object) => void logged.push(details) };
    const tokens = new BindingTokens({ fetchWith: fetchesOf(), log });
    await expect(tokens.get(file)).rejects.toMatchObject({ code: 'token' });
    await write({});
    expect((await tokens.get(file)).value).toBe('jwt-1');
    const { fetch } = await tokens.revision(file);
    await write({ plan: 'lite' });
    expect((await tokens.get(file)).value).toBe('jwt-1');
    expect((await tokens.revision(file)).fetch).toBe(fetch);
    expect(logged).toEqual([]);
    await writeFile(file, '{"clientid"');
    for (let asked = 0; asked < 2; asked++) expect((await tokens.get(file)).value).toBe('jwt-1');
    expect(logged).toHaveLength(1);
    await rm(file);
    expect((await tokens.get(file)).value).toBe('jwt-1');
    await write({ clientsecret: 'new' });
    expect((await tokens.get(file)).value).toBe('jwt-2');
  });

  it.each<[string, object, object]>([
    ['too large an answer', { id_token: 'x'.repeat(200_000) }, { code: 'token', message: /131072 octets/ }],
    ['a token that is none', { access_token: 7 }, { code: 'token', message: /no token/ }],
  ])('%s is refused', async (_what, answer, expected) => {
    const { url } = await tokenService(answer);
    const path = await folder({ 'b.json': JSON.stringify({ ...KEY, url }) });
    const { message, ...rest } = expected as { message: RegExp };
    await expect(new BindingTokens({ fetchWith: fetchesOf() }).get(join(path, 'b.json'))).rejects.toMatchObject({
      ...rest,
      message: expect.stringMatching(message),
    });
  });

  it('are not kept for years', async () => {
    const { url } = await tokenService({ expires_in: 999_999_999 });
    const path = await folder({ 'b.json': JSON.stringify({ ...KEY, url }) });
    const { expiresAt } = await new BindingTokens({ fetchWith: fetchesOf() }).get(join(path, 'b.json'));
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 86_400_000);
  });

  it.each<[string, number, Record<string, string>, string, boolean]>([
    ['429', 429, {}, '{"error":"slow_down"}', true],
    ['a page', 200, { 'content-type': 'text/html' }, '<html>', true],
    ['a router that knows no such route', 404, {}, '404 Not Found: Requested route does not exist', true],
    ['a refusal', 401, { 'content-type': 'application/json' }, '{"error":"s3cret and more"}', false],
  ])('%s of the token service: an outage or not', async (_what, status, headers, body, outage) => {
    const server = createServer((_request, response) => response.writeHead(status, headers).end(body));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    cleanups.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const path = await folder({ 'b.json': JSON.stringify({ ...KEY, url }) });
    const error = await new BindingTokens({ fetchWith: fetchesOf() }).get(join(path, 'b.json')).catch((one) => one);
    expect(error instanceof Outage).toBe(outage);
    expect(error).toMatchObject({ code: 'token', retry: outage, message: expect.not.stringContaining('s3cret') });
  });
});
