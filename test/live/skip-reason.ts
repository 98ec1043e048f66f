import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Debian's and Ubuntu's place for Postfix' daemons. */
export const POSTFIX_DAEMONS = '/usr/lib/postfix/sbin';
/** Dovecot 2.4 has other names for most settings, so a configuration for 2.3 is no use there. */
const DOVECOT_VERSION = '2.3.';

/** Why the mail servers can't run here; undefined where they can. */
export function skipReason(): string | undefined {
  if (process.env.POSTERN_LIVE_SKIP) return process.env.POSTERN_LIVE_SKIP;
  if (process.getuid?.() !== 0) return 'Dovecot and Postfix need root to start';
  if (!existsSync(`${POSTFIX_DAEMONS}/master`)) return 'Postfix is not installed';
  const { stdout, error } = spawnSync('dovecot', ['--version'], { encoding: 'utf8' });
  if (error) return 'Dovecot is not installed';
  if (!stdout.startsWith(DOVECOT_VERSION)) return `Dovecot is ${stdout.trim()}, the tests are written for 2.3`;
  return undefined;
}
