import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { findProgram } from '../../cli/find-program.ts';

const PACKAGES = ['dovecot-imapd', 'dovecot-pop3d', 'dovecot-lmtpd', 'postfix'];

/** Debian asks this program whether an installed package may start its service; 101 is no (invoke-rc.d(8)). */
const POLICY = '/usr/sbin/policy-rc.d';

/** Makes sure that the servers of the live tests are installed. @returns why they are not; undefined when they are */
export function mailServers(say: (line: string) => void, policy = POLICY): string | undefined {
  if (process.env.POSTERN_LIVE_SKIP) return process.env.POSTERN_LIVE_SKIP;
  return debianPackages(PACKAGES, 'Dovecot and Postfix', say, policy);
}

/**
 * Makes sure that Debian packages are installed; a service that they bring is not started.
 * @param title what the reader of a refusal knows them as
 * @returns why they are not; undefined when they are
 */
export function debianPackages(
  packages: string[],
  title: string,
  say: (line: string) => void,
  policy = POLICY,
): string | undefined {
  if (!findProgram('apt-get') || !findProgram('dpkg-query'))
    return `${title} come through apt, and this is not Debian or Ubuntu`;
  if (process.getuid?.() !== 0) return `${title} need root to be installed and started`;
  const missing = missingPackages(packages);
  if (missing.length === 0) return undefined;
  say(`installing ${missing.join(', ')} ...`);
  return withoutServices(policy, () => install(missing));
}

/** Those that are not installed; all of them where there is no dpkg. */
export function missingPackages(packages: string[]): string[] {
  return packages.filter((name) => !isInstalled(name));
}

function isInstalled(name: string): boolean {
  const { stdout } = spawnSync('dpkg-query', ['-s', name], { encoding: 'utf8' });
  return stdout?.includes('\nStatus: install ok installed\n') ?? false;
}

function install(packages: string[]): string | undefined {
  // Lists may be older than what the archive holds; where they can't be renewed, they may still do.
  aptGet(['update', '-qq']);
  return aptGet(['install', '-y', '-qq', '--no-install-recommends', ...packages])
    ? undefined
    : `apt-get could not install ${packages.join(', ')}`;
}

/** Another apt-get may be at work: wait up to two minutes for its lock. */
function aptGet(args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return (
    spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], { stdio: ['ignore', 2, 2], env }).status === 0
  );
}

/** The tests start servers of their own; the system's would only be in their way. A policy that is there already stays. */
function withoutServices<T>(policy: string, work: () => T): T {
  const isOurs = !existsSync(policy);
  if (isOurs) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return work();
  } finally {
    if (isOurs) rmSync(policy, { force: true });
  }
}
