import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DestinationSpec } from '../../../sidecar-auth/kubernetes/resource.ts';
import { selfSigned } from '../token/certificate.ts';
import { filesIn, listenersOf, OFFICE, resource, SERVICES, textIn, world } from './gateway-world.ts';

const smtp = { protocol: 'smtp' } as const;
const secret = (name = 'office') => ({ ...smtp, secretRef: { name } });

it('a resource and its Secret become a listener and a destination', () => {
  const { update, folder, log } = world();
  const config = update([resource()]);
  expect(listenersOf(config)).toEqual(['10.1.2.3:20000 shop/office']);
  expect(config.destinations.get('shop/office')).toMatchObject({
    host: 'mail.example.com',
    tls: true,
    login: { kind: 'basic', user: 'jane', password: 'geheim-1' },
  });
  expect(filesIn(folder)).toEqual([
    'destinations/(none).json 600',
    'destinations/shop.office.json 600',
    'postern.yaml 600',
    'state.json 600',
  ]);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(log).toEqual([]);
});

it('without resources there is a listener that nobody reaches', () => {
  const { update } = world();
  const { listeners } = update([]);
  expect(listeners).toHaveLength(1);
  expect(listeners[0]?.address).toMatchObject({ mode: 0o600 });
});

it('a listener on each of the addresses of the pod', () => {
  const { update } = world({ hosts: ['10.1.2.3', 'fd00::7'] });
  expect(listenersOf(update([resource()]))).toEqual(['10.1.2.3:20000 shop/office', 'fd00::7:20000 shop/office']);
});

it('a resource without a port in its status waits', () => {
  const { update } = world();
  expect(listenersOf(update([resource({ ports: [] })]))).toEqual([]);
  expect(listenersOf(update([resource()]))).toHaveLength(1);
});

it('a resource of the mode istio is not for gateways', () => {
  const { update } = world();
  const spec = { ...secret(), mode: 'istio', workloadSelector: { matchLabels: { app: 'shop' } } } as const;
  expect(listenersOf(update([resource({ spec })]))).toEqual([]);
});

it('the same names in two namespaces', () => {
  const { update } = world();
  const config = update([resource(), resource({ namespace: 'bank', ports: [20001] })], {
    'Secret shop/office': OFFICE,
    'Secret bank/office': { ...OFFICE, 'mail.password': 'geheim-2' },
  });
  const password = (name: string) => config.destinations.get(name)?.login;
  expect(listenersOf(config).sort()).toEqual(['10.1.2.3:20000 shop/office', '10.1.2.3:20001 bank/office']);
  expect(password('shop/office')).toMatchObject({ password: 'geheim-1' });
  expect(password('bank/office')).toMatchObject({ password: 'geheim-2' });
});

it('a Secret of another namespace is not used', () => {
  const { update, log } = world();
  const config = update([resource({ namespace: 'thief' })], { 'Secret shop/office': OFFICE });
  expect([...config.destinations.keys()]).toEqual(['(none)']);
  expect(log.join()).toContain('Secret thief/office does not exist');
});

it('nor by the name of a plain destination of another namespace', () => {
  const { update, log } = world({ base: SERVICES });
  const spec = { ...smtp, destinationRef: { name: 'shop/office' } };
  const config = update([resource(), resource({ namespace: 'thief', spec, ports: [20001] })]);
  expect(listenersOf(config)).toEqual(['10.1.2.3:20000 shop/office']);
  expect(log.join()).toContain('must not have a slash');
});

it.each([
  ['mail.passwordFile', '/proc/self/environ'],
  ['mail.passwordFile', '../state.json'],
  ['mail.passwordFile', 'constructor'],
  ['mail.passwordFile', 'mail.passwordFile'],
  ['clientSecretFile', 'not-there'],
  ['tokenService.KeyStoreLocation', '/var/run/secrets/kubernetes.io/serviceaccount/token'],
])('a Secret that names a file of the pod: %s %s', (key, path) => {
  const { 'mail.password': _, ...rest } = OFFICE;
  const { update, log } = world();
  const config = update([resource()], { 'Secret shop/office': { ...rest, [key]: path } });
  expect(config.destinations.has('shop/office')).toBe(false);
  expect(log.join()).toContain('the name of another key');
});

it('a property that names a file names another key', async () => {
  const { certificate, key } = await selfSigned('client');
  const { update } = world();
  const { destinations } = update([resource()], {
    'Secret shop/office': {
      ...OFFICE,
      Authentication: 'OAuth2ClientCredentials',
      tokenServiceURL: 'https://login.example.com/token',
      clientId: 'c',
      'tokenService.KeyStoreLocation': 'client.pem',
      'client.pem': `${certificate}\n${key}`,
    },
  });
  const login = destinations.get('shop/office')?.login;
  expect(login).toMatchObject({ kind: 'oauth', token: { authentication: { kind: 'tls' } } });
});

it('ConfigMap and Secret together; the Secret wins', () => {
  const { update } = world();
  const { 'mail.password': password, ...rest } = OFFICE;
  const spec = { ...smtp, configMapRef: { name: 'common' }, secretRef: { name: 'office' } };
  const { destinations } = update([resource({ spec })], {
    'ConfigMap shop/common': { ...rest, 'mail.user': 'nobody' },
    'Secret shop/office': { 'mail.password': password, 'mail.user': 'jane' },
  });
  expect(destinations.get('shop/office')?.login).toMatchObject({ user: 'jane', password });
});

it('what a listener can say of the Destination service', () => {
  const { update } = world({ base: SERVICES });
  const spec: DestinationSpec = {
    ...smtp,
    destinationRef: { name: 'OFFICE', level: 'instance' },
    fragmentRef: { name: 'f', level: 'subaccount', optional: true },
    chainRef: { name: 'c', variables: [{ name: 'v', value: '1' }] },
    destinationServiceInstanceName: 'main',
    maxConnections: 7,
  };
  const { listeners } = update([resource({ spec, ports: [20000, 20001], tenants: ['a', 'b'] })]);
  expect(listeners.slice(1)).toMatchObject(
    ['a', 'b'].map((tenant, index) => ({
      destination: 'OFFICE',
      address: { port: 20000 + index },
      protocol: 'smtp',
      maxConnections: 7,
      service: {
        instance: 'main',
        tenant,
        level: 'instance',
        fragment: { name: 'f@subaccount', optional: true },
        chain: { name: 'c', variables: { v: '1' } },
      },
    })),
  );
});

it('subscribers of a plain destination, with and without the Destination service', () => {
  for (const base of [{}, SERVICES]) {
    const { update } = world({ base });
    const { listeners } = update([resource({ ports: [20000, 20001], tenants: ['a', 'b'] })]);
    expect(
      listeners.slice(1).map(({ service, source }) => [source, service?.tenant, service?.tokenServiceTenant]),
    ).toEqual([
      ['file', 'a', 'a'],
      ['file', 'b', 'b'],
    ]);
  }
});

it('the Destination service is needed, and not there', () => {
  const { update, log } = world();
  expect(listenersOf(update([resource({ spec: { ...smtp, destinationRef: { name: 'X' } } })]))).toEqual([]);
  expect(log.join()).toContain('needs an instance of the Destination service');
});

it('an app that must log in; without its Secret nobody gets in', () => {
  const { update } = world();
  const wanted = resource({ spec: { ...secret(), app: { secretRef: { name: 'app' } } } });
  expect(listenersOf(update([wanted]))).toEqual([]);
  const { listeners } = update([wanted], {
    'Secret shop/office': OFFICE,
    'Secret shop/app': { user: 'crm', password: 'wort' },
  });
  expect(listeners[1]).toMatchObject({ app: { user: 'crm', password: 'wort' } });
  expect(listenersOf(update([wanted], { 'Secret shop/office': OFFICE, 'Secret shop/app': { user: 'crm' } }))).toEqual(
    [],
  );
});

it('a mistake stops no other resource, and apps hear of it', () => {
  const { update, log } = world();
  const config = update([resource(), resource({ name: 'bad', spec: secret('bad'), ports: [20001] })], {
    'Secret shop/office': OFFICE,
    'Secret shop/bad': { ...OFFICE, 'mail.smtps.port': 'geheim-9' },
  });
  expect(listenersOf(config)).toEqual(['10.1.2.3:20001 shop/bad', '10.1.2.3:20000 shop/office']);
  expect([...config.destinations.keys()]).toEqual(['(none)', 'shop/office']);
  expect(log.join()).toContain('mail.smtps.port: must be a whole number');
  expect(log.join()).not.toContain('geheim');
});

it.each([
  ['another protocol than the resource says', { 'mail.transport.protocol': 'imap', 'mail.imap.host': 'h.example' }],
  ['a server on this machine', { 'mail.smtps.host': '127.0.0.2' }],
  ['its metadata service', { 'mail.smtps.host': '169.254.169.254' }],
  ['localhost', { 'mail.smtps.host': 'x.localhost' }],
  ['no UTF-8', { 'mail.user': Buffer.from([0xff]) }],
  ['a line break in the middle', { 'mail.user': 'jane\r\nRCPT' }],
])('refused: %s', (_, more) => {
  const { update, log } = world();
  const config = update([resource()], { 'Secret shop/office': { ...OFFICE, ...more } });
  expect(config.destinations.has('shop/office')).toBe(false);
  expect(log).toHaveLength(1);
});

it('a change, a broken change, and its mending', () => {
  const { update, log } = world();
  const user = (config = update([resource()])) => config.destinations.get('shop/office')?.login;
  const withUser = (name: string) =>
    user(update([resource()], { 'Secret shop/office': { ...OFFICE, 'mail.user': name } }));
  expect(user()).toMatchObject({ user: 'jane' });
  expect(withUser('joe')).toMatchObject({ user: 'joe' });
  expect(withUser('')).toMatchObject({ user: 'joe' });
  expect(log.join()).toContain('the destination as it was');
  expect(user(update([resource()], { 'Secret shop/office': 'the API server answers 403' }))).toMatchObject({
    user: 'joe',
  });
  expect(withUser('jim')).toMatchObject({ user: 'jim' });
  expect(log.at(-1)).toContain('the mistakes are gone');
});

it('what is broken stays only for the same Secret, and at the ports of now', () => {
  const { update } = world();
  update([resource()]);
  const moved = update([resource({ ports: [20009] })], { 'Secret shop/office': 'no answer' });
  expect(listenersOf(moved)).toEqual(['10.1.2.3:20009 shop/office']);
  expect(moved.destinations.has('shop/office')).toBe(true);
  const other = update([resource({ spec: secret('other') })], { 'Secret shop/other': 'no answer' });
  expect(other.destinations.has('shop/office')).toBe(false);
});

it('a Secret, and then the resource, is deleted', () => {
  const { update, folder } = world();
  update([resource()]);
  const config = update([resource()], {});
  expect(config.destinations.has('shop/office')).toBe(false);
  expect(listenersOf(config)).toHaveLength(1);
  expect(textIn(folder)).not.toContain('geheim');
  expect(listenersOf(update([resource({ deleted: true })]))).toEqual([]);
  expect(listenersOf(update([]))).toEqual([]);
});

it('two resources with one port: who has it keeps it, else the older', () => {
  const { update, log } = world();
  const old = resource({ namespace: 'bank', created: '2025-01-01T00:00:00Z' });
  const cluster = { 'Secret shop/office': OFFICE, 'Secret bank/office': OFFICE };
  expect(listenersOf(update([resource(), old], cluster))).toEqual(['10.1.2.3:20000 bank/office']);
  update([resource()], cluster);
  expect(listenersOf(update([resource(), old], cluster))).toEqual(['10.1.2.3:20000 shop/office']);
  expect(log.join()).toContain('the port of another resource');
});

it('starts again on what an earlier process knew', () => {
  const { folder, update } = world({ base: { loginTimeout: '7' } });
  update([resource()]);
  const again = world({ folder, base: { loginTimeout: 'seven' } });
  expect(again.gateway.isKnown).toBe(true);
  again.gateway.restore();
  expect(listenersOf(again.config())).toHaveLength(1);
  expect(again.config().destinations.has('shop/office')).toBe(true);
  expect(again.config().loginTimeout).toBe(7);
  // The Secret can't be read: what was known of it stands in.
  const config = again.update([resource()], { 'Secret shop/office': 'no answer' });
  expect(config.destinations.has('shop/office')).toBe(true);
});

it('what was written before anything was heard is nothing that is known', () => {
  const { folder, gateway, config } = world();
  gateway.restore();
  expect(config().listeners).toHaveLength(1);
  expect(world({ folder }).gateway.isKnown).toBe(false);
});

it('a base with mistakes at the first start', () => {
  expect(() => world({ base: { loginTimeout: '0' } })).toThrow('loginTimeout: must be a whole number');
});

it('another base counts for all, a broken one for nobody', () => {
  const { gateway, update, setBase, log } = world();
  setBase({ loginTimeout: '9' });
  expect(gateway.checkBase()).toBe(true);
  expect(update([resource()]).loginTimeout).toBe(9);
  setBase({ loginTimeout: '9', nonsense: '1' });
  expect(gateway.checkBase()).toBe(false);
  expect(update([resource()]).loginTimeout).toBe(9);
  expect(log.join()).toContain('the base configuration stays as it was');
});

it('leaves no copy of a Secret behind that is not in force', () => {
  const { update, folder } = world();
  update([resource()], { 'Secret shop/office': { ...OFFICE, 'mail.smtps.port': '0' } });
  expect(filesIn(join(folder, 'trial'))).toEqual([]);
  expect(textIn(folder)).not.toContain('geheim');
});
