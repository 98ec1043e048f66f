import { AUTHENTICATIONS, type Place } from '../places.ts';
import type { Handout } from './handout.ts';

const HEAD = ['destination', 'way', 'Basic', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode'];

/** The table of cells with their ports on the host, and lines to try. `wrong`: why a cell did not work. */
export function page({ places, user, refreshToken, codes }: Handout, wrong: Map<Place, string> = new Map()): string {
  const firsts = places.filter(({ authentication }) => authentication === AUTHENTICATIONS[0]);
  const rows = firsts.map(({ destination, proxyType, transport }) => [
    destination,
    proxyType === 'Internet' ? `Internet, ${transport}` : `on-premise, ${transport}`,
    ...AUTHENTICATIONS.map((authentication) => {
      const place = places.find(
        (one) => one.proxyType === proxyType && one.transport === transport && one.authentication === authentication,
      );
      return place ? `${place.port} ${wrong.has(place) ? 'BAD' : 'ok'}` : '';
    }),
  ]);
  return [
    '',
    `${places.length - wrong.size} of ${places.length} cells work. Their ports on 127.0.0.1, by the authentication of the destination behind each:`,
    '',
    ...table([HEAD, ...rows]).map((line) => `  ${line}`),
    '',
    'Send a mail and read it. Neither line holds a login:',
    '',
    `  echo 'Subject: hello' | curl -s --crlf -T - smtp://127.0.0.1:2587 --mail-from a@mail.demo --mail-rcpt ${user}`,
    "  curl -s 'imap://127.0.0.1:3993/INBOX;MAILINDEX=*'",
    '',
    'Applications of the two columns on the right bring a token, for example to 127.0.0.1:5993 (telnet):',
    '',
    `  1 AUTHENTICATE XOAUTH2 ${bearer(user, refreshToken)}`,
    '  3 SELECT INBOX',
    '  5 FETCH 1 BODY[TEXT]',
    '',
    'and to 127.0.0.1:7993, with an authorization code:',
    '',
    `  1 AUTHENTICATE XOAUTH2 ${bearer(user, codes['internet-imaps-code'] ?? '')}`,
  ].join('\n');
}

function bearer(user: string, token: string): string {
  return Buffer.from(`user=${user}\x01auth=Bearer ${token}\x01\x01`).toString('base64');
}

function table(rows: string[][]): string[] {
  const widths = HEAD.map((_, index) => Math.max(...rows.map((cells) => cells[index]?.length ?? 0)));
  return rows.map((cells) =>
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
