import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { envoyBinary } from '../../../cli/envoy-binary.ts';
import { ROOT } from '../../../cli/paths.ts';
import { run } from '../../../cli/run.ts';

let folder: string;
let files: string[];
let bin: string;

/** What npm would install, without asking a registry: the packed files, and beside them the dependencies of this clone. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-package-'));
  await run('npm', ['pack', '--pack-destination', folder], { cwd: ROOT });
  const [archive = ''] = readdirSync(folder);
  const modules = join(folder, 'node_modules');
  mkdirSync(modules);
  await run('tar', ['-xzf', join(folder, archive), '-C', modules]);
  await run('mv', [join(modules, 'package'), join(modules, 'postern')]);
  for (const name of dependencies(join(modules, 'postern'))) link(name, modules);
  files = readdirSync(join(modules, 'postern'), { recursive: true, encoding: 'utf8' });
  bin = join(modules, 'postern/bin/postern.js');
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function dependencies(root: string): string[] {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  return Object.keys(dependencies);
}

function link(name: string, modules: string): void {
  if (name.includes('/')) mkdirSync(join(modules, name, '..'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
}

test('it holds the program, the filter and what every package holds, and no sources', () => {
  expect(new Set(files.map((file) => file.split('/')[0]))).toEqual(
    new Set(['LICENSE', 'bin', 'dist', 'package.json', ...(existsSync(join(ROOT, 'README.md')) ? ['README.md'] : [])]),
  );
  expect(files).toEqual(
    expect.arrayContaining(['dist/filter.wasm', 'dist/cli/postern.js', 'dist/sidecar-auth/main.js']),
  );
  expect(files.filter((file) => file.endsWith('.ts'))).toEqual([]);
});

describe('installed, the command', () => {
  function postern(...args: string[]) {
    return spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8' });
  }

  test('explains itself', () => {
    const { status, stdout, stderr } = postern('--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('postern up --config FILE');
  });

  test('knows its version', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(postern('--version').stdout).toBe(`${version}\n`);
  });

  test.each([[['up']], [['down']], [['--nonsense']], [[]]])('wrong arguments %j: exit code 2', (args) => {
    expect(postern(...args).status).toBe(2);
  });

  test('a wrong FILE: exit code 2, and every mistake on a line of its own', () => {
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, 'destinations: { directory: ./nowhere }\nlisteners: [{ address: "x" }]\nnonsense: 1\n');
    const { status, stderr } = postern('up', '--config', file);
    expect(status).toBe(2);
    const keys = ['destinations.directory', 'listeners[0].destination', 'listeners[0].address', 'nonsense'];
    for (const key of keys) expect(stderr).toContain(`postern: ${file}: ${key}: `);
  });
});

test('installed, it runs: ready, and on SIGTERM exit code 0 with nothing left', async () => {
  const temporary = mkdtempSync(join(folder, 'tmp-'));
  const socket = join(folder, 'mail.sock');
  const env = { ...process.env, ENVOY_BIN: await envoyBinary(), TMPDIR: temporary };
  const child = spawn(process.execPath, [bin, 'up', '--config', config(socket)], { env, stdio: ['ignore', 'pipe', 2] });
  expect(await firstLine(child)).toBe('postern: ready');
  expect(existsSync(socket)).toBe(true);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect([readdirSync(temporary), existsSync(socket)]).toEqual([[], false]);
});

function config(socket: string): string {
  const file = join(folder, 'postern.yaml');
  const destination = {
    Name: 'office',
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'NoAuthentication',
    'mail.transport.protocol': 'smtp',
    'mail.smtp.host': '127.0.0.1',
    'mail.smtp.port': '2525',
    'mail.smtp.auth': 'false',
    'mail.smtp.starttls.enable': 'false',
  };
  mkdirSync(join(folder, 'destinations'));
  writeFileSync(join(folder, 'destinations/office.json'), JSON.stringify(destination));
  const listener = `listeners: [{ destination: office, address: ${JSON.stringify(socket)}, mode: "0600" }]`;
  writeFileSync(file, `destinations: { directory: ./destinations }\n${listener}\n`);
  return file;
}

/** Empty when the process ends without one. */
async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no standard output');
  for await (const line of createInterface({ input: child.stdout })) return line;
  return '';
}
