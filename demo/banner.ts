import type { Place, World } from './world.ts';

/** Which program the lines to try may use: they must work as printed. */
export type Client = 'curl' | 'python3' | undefined;

const CTRL_C = 'Ctrl-C stops everything.';
const PROTOCOL_COLUMN: Record<string, string> = { smtp: 'SMTP', imap: 'IMAP', pop3: 'POP3' };

/** The table of destinations and two lines to try, at most 100 columns wide. */
export function banner(world: World, client: Client, logFile: string): string {
  const rows = [['DESTINATION', 'ROUTE', 'PROTOCOL', 'LOCAL ADDRESS'], ...world.places.map(row)];
  const table = columns(rows).map((line) => `  ${line}`);
  return ['', ...table, '', ...tryLines(world.places, client), '', ...configuration(world, logFile), '', CTRL_C].join(
    '\n',
  );
}

function row(place: Place): string[] {
  const route = place.proxyType === 'Internet' ? 'direct' : 'Connectivity Proxy';
  const over = place.tls ? ' over TLS' : '';
  return [place.destination, route, `${PROTOCOL_COLUMN[place.protocol]}${over}`, `127.0.0.1:${place.port}`];
}

function columns(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((cells) => cells[index]?.length ?? 0)));
  return rows.map((cells) =>
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('   ')
      .trimEnd(),
  );
}

function configuration(world: World, logFile: string): string[] {
  const files = [`  ${world.configFile}`, `  ${logFile}`];
  return ['Its configuration, to look at and to change while it runs, and its log:', '', ...files];
}

/** Sent through the Cloud Connector, read over TLS: both without a login. */
function tryLines(places: Place[], client: Client): string[] {
  const port = (destination: string) => places.find((place) => place.destination === destination)?.port ?? 0;
  const send = port('onpremise-smtp');
  if (client === 'curl') {
    return introduced([
      `echo 'Subject: hello' | curl -sT - smtp://127.0.0.1:${send} --mail-from a@demo --mail-rcpt b@demo`,
      `curl -s 'imap://127.0.0.1:${port('internet-imaps')}/INBOX;MAILINDEX=*'`,
    ]);
  }
  if (client === 'python3') {
    const read = `p=poplib.POP3('127.0.0.1',${port('internet-pop3s')});print(p.retr(p.stat()[0]))`;
    return introduced([
      `python3 -c "import smtplib as s;s.SMTP('127.0.0.1',${send}).sendmail('a@x','b@x','Subject: hi')"`,
      `python3 -c "import poplib;${read}"`,
    ]);
  }
  return introduced([`telnet 127.0.0.1 ${send}`, `telnet 127.0.0.1 ${port('internet-imaps')}`]);
}

function introduced([send, read]: [string, string]): string[] {
  return ['In another terminal, send a mail and read it. Neither line holds a login:', '', `  ${send}`, `  ${read}`];
}
