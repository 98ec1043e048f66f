import { AUTHENTICATIONS, type Authentication, type Place } from './places.ts';
import type { World } from './world.ts';

/** Which programs the lines to try may use: they must work as printed. */
export interface Programs {
  client?: 'curl' | 'python3';
  terminal?: 'telnet' | 'nc';
}

const CTRL_C = 'Ctrl-C stops everything.';
const LOOPBACK = '127.0.0.1';
const PROTOCOL_COLUMN: Record<string, string> = { smtp: 'SMTP', imap: 'IMAP', pop3: 'POP3' };
const HEAD = ['DESTINATION', 'ROUTE', 'Basic', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode'];

/** The table of destinations and lines to try, at most 100 columns wide. */
export function banner(world: World, programs: Programs, logFile: string): string {
  const { places } = world;
  return [
    ...['', `Ports on ${LOOPBACK}, by the authentication of the destination behind each:`, ''],
    ...table(places).map((line) => `  ${line}`),
    ...['', ...tryLines(places, programs.client)],
    ...['', ...dialogues(world, programs.terminal ?? 'telnet')],
    ...['', ...consent(world)],
    ...['', ...configuration(world, logFile), '', CTRL_C],
  ].join('\n');
}

function table(places: Place[]): string[] {
  const firsts = places.filter(({ authentication }) => authentication === AUTHENTICATIONS[0]);
  return columns([HEAD, ...firsts.map((first) => row(first, places))]);
}

function row(first: Place, places: Place[]): string[] {
  const { proxyType, transport, tls, protocol, destination } = first;
  const route = proxyType === 'Internet' ? 'Internet' : 'on-premise';
  const same = places.filter((place) => place.proxyType === proxyType && place.transport === transport);
  return [
    destination,
    `${route}, ${PROTOCOL_COLUMN[protocol]}${tls ? ' over TLS' : ''}`,
    ...AUTHENTICATIONS.map((authentication) => `${portOf(same, authentication)}`),
  ];
}

function portOf(places: Place[], authentication: Authentication): number {
  return places.find((place) => place.authentication === authentication)?.port ?? 0;
}

function columns(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((cells) => cells[index]?.length ?? 0)));
  return rows.map((cells) =>
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function configuration(world: World, logFile: string): string[] {
  const files = [`  ${world.configFile}`, `  ${logFile}`];
  return ['Its configuration, to look at and to change while it runs, and its log:', '', ...files];
}

/** Sent through the Cloud Connector with a password, read over TLS with an access token: both without a login. */
function tryLines(places: Place[], client: Programs['client']): string[] {
  const port = (destination: string) => places.find((place) => place.destination === destination)?.port ?? 0;
  const send = port('onpremise-smtp');
  if (client === 'curl') {
    return introduced([
      `echo 'Subject: hello' | curl -sT - smtp://${LOOPBACK}:${send} --mail-from a@demo --mail-rcpt b@demo`,
      `curl -s 'imap://${LOOPBACK}:${port('internet-imaps-client')}/INBOX;MAILINDEX=*'`,
    ]);
  }
  if (client === 'python3') {
    const read = `p=poplib.POP3('${LOOPBACK}',${port('internet-pop3s-client')});print(p.retr(p.stat()[0]))`;
    return introduced([
      `python3 -c "import smtplib as s;s.SMTP('${LOOPBACK}',${send}).sendmail('a@x','b@x','Subject: hi')"`,
      `python3 -c "import poplib;${read}"`,
    ]);
  }
  return introduced([`telnet ${LOOPBACK} ${send}`, `telnet ${LOOPBACK} ${port('internet-imaps-client')}`]);
}

function introduced([send, read]: [string, string]): string[] {
  return ['In another terminal, send a mail and read it. Neither line holds a login:', '', `  ${send}`, `  ${read}`];
}

/** SAP's own dialogues for apps that bring a token, one for each kind. */
function dialogues({ places, user, tokens }: World, terminal: 'telnet' | 'nc'): string[] {
  const open = (destination: string) => {
    const { port } = places.find((place) => place.destination === destination) ?? { port: 0 };
    return terminal === 'nc' ? `nc -C ${LOOPBACK} ${port}` : `telnet ${LOOPBACK} ${port}`;
  };
  const bearer = (token: string) => Buffer.from(`user=${user}\x01auth=Bearer ${token}\x01\x01`).toString('base64');
  const mail = ['MAIL FROM:a@demo', 'RCPT TO:b@demo', 'DATA', 'Some test data.', '.', 'QUIT'];
  return [
    'Applications of the two columns on the right bring a refresh token or an authorization code:',
    '',
    `  ${open('onpremise-smtp-refresh')}`,
    ...indented([`AUTH XOAUTH2 ${bearer(tokens.refreshToken)}`, ...mail]),
    '',
    `  ${open('internet-imaps-code')}`,
    ...indented([
      `1 AUTHENTICATE XOAUTH2 ${bearer(tokens.authorizationCode)}`,
      '2 LIST "" "*"',
      '3 SELECT INBOX',
      '5 FETCH 1 BODY[TEXT]',
      '6 LOGOUT',
    ]),
  ];
}

function indented(lines: string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** A person's consent, in place of a token that the app brings. */
function consent({ configFile }: World): string[] {
  return [
    'After this, an app that never logs in may use that destination, too:',
    '',
    `  node bin/postern.js login internet-smtps-refresh --config ${configFile}`,
  ];
}
