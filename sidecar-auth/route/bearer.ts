import type { Line } from '../contract/lines.ts';

export interface Server {
  host: string;
  port: number;
}

/**
 * An access token in the forms that servers take: XOAUTH2 (Google, Microsoft: "SASL XOAUTH2 mechanism") and OAUTHBEARER (RFC 7628
 * section 3.1; the user's name is escaped as RFC 5801 section 4 wants).
 */
export function bearerLines(user: string, token: string, { host, port }: Server): Line[] {
  const escaped = user.replaceAll('=', '=3D').replaceAll(',', '=2C');
  return [
    ['xoauth2', `user=${user}\x01auth=Bearer ${token}\x01\x01`],
    ['oauthbearer', `n,a=${escaped},\x01host=${host}\x01port=${port}\x01auth=Bearer ${token}\x01\x01`],
  ];
}
