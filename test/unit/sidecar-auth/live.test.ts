import { once } from 'node:events';
import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { type Config, loadConfig } from '../../../sidecar-auth/config/config.ts';
import { LiveConfig } from '../../../sidecar-auth/config/live.ts';
import { selfSigned } from '../token/certificate.ts';
import { configFolder, FILE, type Files, MAIL, replaceFile, writeFiles } from './files.ts';

const { 'mail.password': _, ...NO_PASSWORD } = MAIL;
/** Milliseconds in which a change must be taken over (issue 8). */
const WITHIN = 1000;

function follow(files: Files = {}) {
  const folder = configFolder(files);
  const output = new PassThrough();
  let log = '';
  output.on('data', (chunk) => {
    log += chunk;
  });
  let wake = () => {};
  const live = new LiveConfig(loadConfig(join(folder, 'postern.yaml')), pino(output), () => wake());
  onTestFinished(() => live.close());
  const until = (holds: (config: Config) => boolean) =>
    new Promise<number>((resolve) => {
      const start = performance.now();
      wake = () => holds(live.current) && resolve(performance.now() - start);
      wake();
    });
  return { folder, live, until, log: () => log, nextLog: () => once(output, 'data') };
}

const host = (config: Config) => config.destinations.get('office-mail')?.host;
const password = (config: Config) => {
  const login = config.destinations.get('office-mail')?.login;
  return login?.kind === 'basic' ? login.password : undefined;
};
const CHANGED = { ...MAIL, 'mail.smtps.host': 'new.example.com' };

it('a destination written in place', async () => {
  const { folder, until } = follow();
  writeFiles(folder, { 'destinations/mail.json': CHANGED });
  expect(await until((config) => host(config) === 'new.example.com')).toBeLessThan(WITHIN);
});

it('a destination replaced by rename, again and again', async () => {
  const { folder, until } = follow();
  for (const name of ['a.example', 'b.example', 'c.example']) {
    replaceFile(folder, 'destinations/mail.json', { ...MAIL, 'mail.smtps.host': name });
    expect(await until((config) => host(config) === name)).toBeLessThan(WITHIN);
  }
});

it('a destination added and deleted', async () => {
  const { folder, until } = follow();
  writeFiles(folder, { 'destinations/b.yaml': { ...MAIL, Name: 'b' } });
  expect(await until(({ destinations }) => destinations.has('b'))).toBeLessThan(WITHIN);
  rmSync(join(folder, 'destinations/b.yaml'));
  expect(await until(({ destinations }) => !destinations.has('b'))).toBeLessThan(WITHIN);
});

it('FILE itself', async () => {
  const { folder, until } = follow();
  replaceFile(folder, 'postern.yaml', { ...FILE, loginTimeout: 7 });
  expect(await until(({ loginTimeout }) => loginTimeout === 7)).toBeLessThan(WITHIN);
});

it('a password file elsewhere, and one that is named later', async () => {
  const named = (file: string) => ({ ...NO_PASSWORD, 'mail.passwordFile': file });
  const { folder, until } = follow({
    'destinations/mail.json': named('../one/pw'),
    'one/pw': 'eins',
    'two/pw': 'zwei',
  });
  writeFiles(folder, { 'one/pw': 'EINS' });
  expect(await until((config) => password(config) === 'EINS')).toBeLessThan(WITHIN);
  writeFiles(folder, { 'destinations/mail.json': named('../two/pw') });
  expect(await until((config) => password(config) === 'zwei')).toBeLessThan(WITHIN);
  replaceFile(folder, 'two/pw', 'ZWEI');
  expect(await until((config) => password(config) === 'ZWEI')).toBeLessThan(WITHIN);
});

it('the swap of a symlink, as Kubernetes does it', async () => {
  const { folder, until } = follow({ 'v1/mail.json': MAIL, 'v2/mail.json': CHANGED });
  const destinations = join(folder, 'destinations');
  rmSync(join(destinations, 'mail.json'));
  symlinkSync(join(folder, 'v1'), join(destinations, '..data'));
  symlinkSync('..data/mail.json', join(destinations, 'mail.json'));
  await until((config) => host(config) === 'mail.example.com');
  symlinkSync(join(folder, 'v2'), join(destinations, '..data_tmp'));
  renameSync(join(destinations, '..data_tmp'), join(destinations, '..data'));
  expect(await until((config) => host(config) === 'new.example.com')).toBeLessThan(WITHIN);
});

it('the target of a symlink far away, where only the poll looks', async () => {
  const { folder, until } = follow({ 'far/mail.json': { ...MAIL, Name: 'far' } });
  symlinkSync(join(folder, 'far/mail.json'), join(folder, 'destinations/far.json'));
  await until(({ destinations }) => destinations.has('far'));
  writeFiles(folder, { 'far/mail.json': { ...MAIL, Name: 'farther' } });
  expect(await until(({ destinations }) => destinations.has('farther'))).toBeLessThan(WITHIN);
});

it('a broken edit is logged without its secrets, once, and mended', async () => {
  const { folder, live, until, log, nextLog } = follow();
  const said = nextLog();
  writeFiles(folder, { 'destinations/mail.json': '{"mail.password": "geheim-2", "geheim-2: ' });
  await said;
  expect(host(live.current)).toBe('mail.example.com');
  writeFiles(folder, { 'destinations/b.yaml': { ...MAIL, Name: 'b' } });
  await until(({ destinations }) => destinations.has('b'));
  expect(log().match(/is not valid YAML or JSON/g)).toHaveLength(1);
  writeFiles(folder, { 'destinations/mail.json': CHANGED });
  expect(await until((config) => host(config) === 'new.example.com')).toBeLessThan(WITHIN);
  expect(log()).toContain('the mistakes are gone');
  expect(log()).not.toContain('geheim');
});

it('says that a change of tls needs a restart', async () => {
  const { folder, nextLog, log } = follow({ 'ca.pem': (await selfSigned('ca')).certificate });
  const said = nextLog();
  replaceFile(folder, 'postern.yaml', { ...FILE, tls: { additionalCAs: ['./ca.pem'] } });
  await said;
  expect(log()).toContain('takes effect after a restart');
});

it('a deleted destination: the log says what its listener answers, and not that anything stays', async () => {
  const { folder, nextLog, log } = follow();
  const said = nextLog();
  rmSync(join(folder, 'destinations/mail.json'));
  await said;
  expect(log()).toContain('answers unknown_destination');
  expect(log()).not.toContain('stays as it was');
});

it('a password without a space before it is not logged', async () => {
  const { folder, nextLog, log } = follow();
  const said = nextLog();
  const listener = '{ destination: office-mail, address: 127.0.0.1:1587, app: { user: crm, password:geheim-3 } }';
  replaceFile(folder, 'postern.yaml', `destinations: { directory: ./destinations }\nlisteners: [${listener}]\n`);
  await said;
  expect(log()).toContain('listeners[0].app.password"');
  expect(log()).toContain('is a space missing after its colon?');
  expect(log()).toContain('stays as it was');
  expect(log()).not.toContain('geheim');
});

it('the last listener can not be taken away', async () => {
  const { folder, live, nextLog } = follow();
  const said = nextLog();
  replaceFile(folder, 'postern.yaml', { ...FILE, listeners: [] });
  await said;
  expect(live.current.listeners).toHaveLength(1);
});

it('check() looks at once', () => {
  const { folder, live } = follow();
  replaceFile(folder, 'destinations/mail.json', CHANGED);
  live.check();
  expect(host(live.current)).toBe('new.example.com');
});
