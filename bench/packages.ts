import { debianPackages } from '../scripts/lib/mail-servers.ts';
import * as dovecot from './arms/dovecot.ts';
import * as emailproxy from './arms/emailproxy.ts';
import * as nginx from './arms/nginx.ts';
import type { Missing } from './measurement.ts';

/** Installs what Debian has for the arms. @returns the arms that are left out, for want of root or apt, for example */
export function installArms(say: (line: string) => void): Missing[] {
  const python = () => (emailproxy.missing() ? debianPackages(emailproxy.PACKAGES, 'Python and pip', say) : undefined);
  const reasons = {
    nginx: debianPackages(nginx.PACKAGES, 'nginx and its mail module', say),
    dovecot: debianPackages(dovecot.PACKAGES, "Dovecot's servers", say),
    'email-oauth2-proxy': python(),
  };
  return Object.entries(reasons).flatMap(([arm, reason]) => (reason === undefined ? [] : [{ arm, reason }]));
}
