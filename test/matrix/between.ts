import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Between {
  /** On 127.0.0.1. */
  port: number;
  close(): Promise<void>;
}

/** Gets each line of the server (latin1, with its CRLF) and returns what goes on; a `last` one closes both sides. */
export type Pass = (line: string) => { text: string; last?: boolean };

/** Stands between Postern and a mail server in plain text, for what the server can't be told to do. What the client says goes on as it is. */
export async function startBetween(serverPort: number, pass: Pass): Promise<Between> {
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const server = connect(serverPort, '127.0.0.1');
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    }
    client.on('close', () => server.destroy());
    client.pipe(server);
    passLines(server, client, pass);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await once(listener.close(), 'close');
    },
  };
}

function passLines(server: Socket, client: Socket, pass: Pass): void {
  let unread = '';
  const end = () => client.end();
  server.on('end', end).setEncoding('latin1');
  server.on('data', (text: string) => {
    const lines = (unread + text).split(/(?<=\r\n)/);
    unread = lines.at(-1)?.endsWith('\r\n') ? '' : (lines.pop() ?? '');
    for (const line of lines) {
      const { text: rest, last } = pass(line);
      client.write(rest, 'latin1');
      if (!last) continue;
      server.destroy();
      end();
      return;
    }
  });
}

/** A server that offers OAUTHBEARER and not XOAUTH2, which it would take. */
export const bearerOnly: Pass = (line) => ({ text: line.replace(/ (AUTH=)?XOAUTH2\b/g, '') });

/** A server that closes after a refused login. */
export const closing: Pass = (line) => ({ text: line, last: /^(535 |\S+ NO |-ERR )/.test(line) });
