import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { mailServers } from '../../../scripts/lib/mail-servers.ts';

let folder: string;
let policy: string;
let said: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-apt-'));
  mkdirSync(join(folder, 'bin'));
  policy = join(folder, 'policy-rc.d');
  said = [];
  vi.stubEnv('PATH', `${join(folder, 'bin')}:/bin:/usr/bin`);
  vi.stubEnv('POSTERN_LIVE_SKIP', '');
  vi.spyOn(process, 'getuid').mockReturnValue(0);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

/** All but Postfix are installed. `apt-get` notes what it is told and whether services may start. */
function debian(status = 0): void {
  program(
    'dpkg-query',
    '[ "$2" = postfix ] && exit 1; printf "Package: x\\nStatus: install ok installed\\nPriority: y\\n"',
  );
  const note = `echo "$DEBIAN_FRONTEND $*; $(sh ${policy}; echo $?)" >> ${folder}/log`;
  program('apt-get', `${note}\ncase "$*" in *update*) exit 100 ;; esac\nexit ${status}`);
}

function ask(): string | undefined {
  return mailServers((line) => said.push(line), policy);
}

test('what is missing is installed, without its services, also where the lists can not be renewed', () => {
  debian();
  expect(ask()).toBe(undefined);
  expect(said).toEqual(['installing postfix ...']);
  expect(readFileSync(join(folder, 'log'), 'utf8')).toMatch(/noninteractive .* install .* postfix; 101\n$/);
  expect(existsSync(policy)).toBe(false);
});

test('a policy that is there already stays', () => {
  debian();
  writeFileSync(policy, 'exit 104\n');
  expect(ask()).toBe(undefined);
  expect(readFileSync(policy, 'utf8')).toBe('exit 104\n');
});

test('where it can not be installed, the live tests are told why', () => {
  debian(100);
  expect(ask()).toBe('apt-get could not install postfix');
  expect(existsSync(policy)).toBe(false);
});

test('nothing to do', () => {
  program('dpkg-query', 'printf "Package: x\\nStatus: install ok installed\\nPriority: y\\n"');
  program('apt-get', 'exit 1');
  expect([ask(), said]).toEqual([undefined, []]);
});

test('not root', () => {
  debian();
  vi.spyOn(process, 'getuid').mockReturnValue(1000);
  expect(ask()).toMatch(/need root/);
  expect(existsSync(join(folder, 'log'))).toBe(false);
});

test('not Debian', () => {
  vi.stubEnv('PATH', join(folder, 'bin'));
  expect(ask()).toMatch(/not Debian/);
});
