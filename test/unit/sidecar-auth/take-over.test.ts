import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Config, loadConfig, readConfig } from '../../../sidecar-auth/config/config.ts';
import { takeOver } from '../../../sidecar-auth/config/take-over.ts';
import { configFolder, FILE, type Files, MAIL, writeFiles } from './files.ts';

const CONNECTED = { ...FILE, connectivity: { host: 'cp', token: 'none' } };
const PLANT = {
  ...MAIL,
  Name: 'plant',
  ProxyType: 'OnPremise',
  'mail.transport.protocol': 'smtp',
  'mail.smtp.host': 'v',
};
const IMAP = { ...MAIL, 'mail.transport.protocol': 'imaps', 'mail.imaps.host': 'mail.example.com' };
const PREAUTH = { ...FILE, listeners: [{ ...FILE.listeners[0], greeting: 'preauth' }] };

/** Starts with `start`, makes the edit, and takes over. */
function edited(start: Files, edit: Files, gone: string[] = []): { before: Config; config: Config; keys: string[] } {
  const folder = configFolder(start);
  const before = loadConfig(join(folder, 'postern.yaml'));
  writeFiles(folder, edit);
  for (const name of gone) rmSync(join(folder, name), { recursive: true });
  const { config, mistakes } = takeOver(before, readConfig(before.file, before.directory));
  return { before, config, keys: mistakes.map(({ key }) => key) };
}

it('takes over what is right', () => {
  const { config, keys } = edited(
    {},
    {
      'destinations/mail.json': { ...MAIL, 'mail.smtps.host': 'new.example.com' },
      'postern.yaml': { ...FILE, loginTimeout: 5 },
    },
  );
  expect([config.destinations.get('office-mail')?.host, config.loginTimeout, keys]).toEqual(['new.example.com', 5, []]);
});

it.each([
  ['broken', '{'],
  ['empty', ''],
  ['wrong', { ...MAIL, Type: 'HTTP' }],
])('a %s destination stays as it was; others change', (_, edit) => {
  const other = { ...MAIL, Name: 'other' };
  const { config, keys } = edited(
    { 'destinations/other.json': other },
    { 'destinations/mail.json': edit, 'destinations/other.json': { ...other, 'mail.smtps.host': 'new' } },
  );
  expect(config.destinations.get('office-mail')?.host).toBe('mail.example.com');
  expect(config.destinations.get('other')?.host).toBe('new');
  expect(keys).not.toEqual([]);
});

it('a broken FILE stays as it was; destinations change', () => {
  const { before, config, keys } = edited(
    {},
    { 'postern.yaml': { ...FILE, listeners: [{}] }, 'destinations/mail.json': { ...MAIL, 'mail.smtps.host': 'new' } },
  );
  expect(config.listeners).toEqual(before.listeners);
  expect(config.destinations.get('office-mail')?.host).toBe('new');
  expect(keys).toEqual(['listeners[0].destination', 'listeners[0].address']);
});

it('a FILE that is gone stays as it was', () => {
  const { before, config, keys } = edited({}, {}, ['postern.yaml']);
  expect(config).toMatchObject({ listeners: before.listeners, destinations: before.destinations });
  expect(keys).toEqual(['']);
});

it('a deleted destination is gone, its listener stays', () => {
  const { config, keys } = edited({}, {}, ['destinations/mail.json']);
  expect([config.destinations.size, config.listeners.length]).toEqual([0, 1]);
  expect(keys).toEqual(['listeners[0].destination']);
});

it('a folder that can not be read deletes nothing', () => {
  const { before, config, keys } = edited({}, {}, ['destinations']);
  expect(config.destinations).toEqual(before.destinations);
  expect(keys).toEqual(['destinations.directory']);
});

it('a password file that is gone leaves the old password', () => {
  const { 'mail.password': _, ...rest } = MAIL;
  const start = { 'destinations/mail.json': { ...rest, 'mail.passwordFile': './pw' }, 'destinations/pw': 'alt' };
  const login = (config: Config) => config.destinations.get('office-mail')?.login;
  expect(login(edited(start, {}, ['destinations/pw']).config)).toMatchObject({ password: 'alt' });
  expect(login(edited(start, { 'destinations/pw': 'neu' }).config)).toMatchObject({ password: 'neu' });
});

it('a name stays with the file that has it', () => {
  const { config, keys } = edited({}, { 'destinations/a.json': { ...MAIL, 'mail.smtps.host': 'thief' } });
  expect(config.destinations.get('office-mail')?.host).toBe('mail.example.com');
  expect(keys).toEqual(['Name']);
});

it('an on-premise destination without connectivity is not taken over; with it, it is', () => {
  const without = edited({}, { 'destinations/plant.json': PLANT });
  expect([[...without.config.destinations.keys()], without.keys]).toEqual([['office-mail'], ['connectivity']]);
  const changed = edited({}, { 'destinations/mail.json': { ...PLANT, Name: 'office-mail' } });
  expect(changed.config.destinations.get('office-mail')?.onPremise).toBe(false);
  const both = edited({}, { 'destinations/plant.json': PLANT, 'postern.yaml': CONNECTED });
  expect([both.config.destinations.size, both.keys]).toEqual([2, []]);
});

it('connectivity can not be taken from under a destination', () => {
  const { config, keys } = edited(
    { 'destinations/plant.json': PLANT, 'postern.yaml': CONNECTED },
    { 'postern.yaml': FILE },
  );
  expect([config.connectivity?.host, config.destinations.size, keys]).toEqual(['cp', 2, ['connectivity']]);
});

it('preauth and a change of protocol: neither breaks the other', () => {
  const start = { 'postern.yaml': PREAUTH, 'destinations/mail.json': IMAP };
  const destination = edited(start, { 'destinations/mail.json': MAIL });
  expect(destination.config.destinations.get('office-mail')?.protocol).toBe('imap');
  expect(destination.keys).toEqual(['listeners[0].greeting']);
  const file = edited({}, { 'postern.yaml': PREAUTH });
  expect(file.config.listeners[0]).not.toHaveProperty('greeting');
  const together = edited(start, { 'destinations/mail.json': MAIL, 'postern.yaml': FILE });
  expect([together.config.destinations.get('office-mail')?.protocol, together.keys]).toEqual(['smtp', []]);
});
