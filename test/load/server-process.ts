import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Account, Seen, ServerAnswer, ServerRequest } from './messages.ts';

/** All of a test's connections may arrive before the first one is accepted. */
const BACKLOG = 4096;

/** A process of small SMTP servers, one per account, that demand a login and count. */
const servers: Seen[] = [];

function tell(answer: ServerAnswer): void {
  process.send?.(answer);
}

async function start(account: Account): Promise<number> {
  const seen: Seen = { connections: 0, logins: 0, wrongLogins: 0, mails: 0, violations: 0, quits: 0, mostAtOnce: 0 };
  servers.push(seen);
  const server = createServer({ noDelay: true }, counting(account, seen));
  server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function counting({ user, password }: Account, seen: Seen): (socket: Socket) => void {
  const right = `AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString('base64')}`;
  let atOnce = 0;
  return (socket) => {
    seen.connections++;
    let loggedIn = false;
    const answer = (line: string): string => {
      if (line.startsWith('EHLO ')) return '250-load.example\r\n250 AUTH PLAIN\r\n';
      if (line === right && !loggedIn) {
        loggedIn = true;
        seen.logins++;
        seen.mostAtOnce = Math.max(seen.mostAtOnce, ++atOnce);
        return '235 2.7.0 welcome\r\n';
      }
      if (line === 'QUIT') {
        seen.quits++;
        return '221 2.0.0 bye\r\n';
      }
      if (line.startsWith('MAIL FROM:') && loggedIn) {
        seen.mails++;
        return '250 2.1.0 sender\r\n';
      }
      if (line.startsWith('AUTH ')) seen.wrongLogins++;
      else seen.violations++;
      return line.startsWith('AUTH ') ? '535 5.7.8 wrong\r\n' : '530 5.7.0 log in first\r\n';
    };
    socket.on('close', () => {
      if (loggedIn) atOnce--;
    });
    converse(socket, answer);
  };
}

function converse(socket: Socket, answer: (line: string) => string): void {
  let unread = '';
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.write('220 load.example ESMTP\r\n');
  socket.on('data', (text: string) => {
    unread += text;
    for (let end = unread.indexOf('\r\n'); end >= 0; end = unread.indexOf('\r\n')) {
      const line = unread.slice(0, end);
      unread = unread.slice(end + 2);
      if (line === 'QUIT') socket.end(answer(line));
      else socket.write(answer(line));
    }
  });
}

process.on('message', async (request: ServerRequest) => {
  if ('start' in request) tell({ ports: await Promise.all(request.start.map(start)) });
  else tell({ seen: servers });
});
// The test is gone: nobody asks any more.
process.once('disconnect', () => process.exit(0));
