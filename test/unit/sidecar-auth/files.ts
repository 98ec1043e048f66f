import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Config, loadConfig } from '../../../sidecar-auth/config/config.ts';
import { ConfigMistakes } from '../../../sidecar-auth/config/mistakes.ts';

/** A temporary folder, gone after the test. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'postern-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Files by name; what is no text and no buffer is written as JSON. */
export type Files = Record<string, unknown>;

export function writeFiles(folder: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    const octets = typeof content === 'string' || Buffer.isBuffer(content);
    writeFileSync(path, octets ? content : JSON.stringify(content));
  }
}

/** As careful editors do it. */
export function replaceFile(folder: string, name: string, content: unknown): void {
  writeFiles(folder, { [`${name}.tmp`]: content });
  renameSync(join(folder, `${name}.tmp`), join(folder, name));
}

export const MAIL = {
  Name: 'office-mail',
  Type: 'MAIL',
  ProxyType: 'Internet',
  Authentication: 'BasicAuthentication',
  'mail.user': 'jane',
  'mail.password': 'geheim-1',
  'mail.transport.protocol': 'smtps',
  'mail.smtps.host': 'mail.example.com',
};

export const FILE = {
  destinations: { directory: './destinations' },
  listeners: [{ destination: 'office-mail', address: '127.0.0.1:1587' }],
};

/** Writes FILE (`postern.yaml`) and the destinations into a folder of its own. */
export function configFolder(files: Files): string {
  const folder = tempFolder();
  mkdirSync(join(folder, 'destinations'));
  writeFiles(folder, { 'postern.yaml': FILE, 'destinations/mail.json': MAIL, ...files });
  return folder;
}

export function load(files: Files = {}): Config {
  return loadConfig(join(configFolder(files), 'postern.yaml'));
}

/** `file key: text` of each mistake, the file without its folder. */
export function mistakesOf(files: Files): string[] {
  const folder = configFolder(files);
  try {
    loadConfig(join(folder, 'postern.yaml'));
  } catch (error) {
    if (!(error instanceof ConfigMistakes)) throw error;
    return error.mistakes.map(({ file, key, text }) => `${file.slice(folder.length + 1)} ${key}: ${text}`);
  }
  return [];
}
