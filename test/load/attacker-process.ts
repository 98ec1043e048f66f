import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type AttackAnswer, type Attackers, type AttackRequest, GREETING } from './hostile-messages.ts';

/** All connections may arrive before the first one is accepted. */
const BACKLOG = 4096;
/** Octets of what is heard that are kept: more than one line has. */
const KEPT = 1024;

class Attacker {
  readonly socket: Socket;
  #heard = '';

  constructor(port: number, says: string) {
    this.socket = connect({ port, host: '127.0.0.1' });
    this.socket.setEncoding('latin1').on('error', () => this.socket.destroy());
    this.socket.on('data', (text: string) => {
      if (this.#heard.length < GREETING.length + KEPT) this.#heard += text;
    });
    this.socket.write(says, 'latin1');
  }

  /** The first line that is not the server's greeting; undefined before that. */
  get heard(): string | undefined {
    const after = this.#heard.startsWith(GREETING) ? this.#heard.slice(GREETING.length) : this.#heard;
    const end = after.indexOf('\r\n');
    return after === GREETING || end < 0 ? undefined : after.slice(0, end);
  }
}

let attackers: Attacker[] = [];

async function serve(greeting: string, answer: string): Promise<AttackAnswer> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy()).on('data', () => socket.write(answer, 'latin1'));
    socket.write(greeting);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG });
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port };
}

async function open(count: number, port: number, says: string): Promise<AttackAnswer> {
  const more = Array.from({ length: count }, () => new Attacker(port, says));
  attackers.push(...more);
  await Promise.all(more.map(({ socket }) => once(socket, 'connect').catch(() => {})));
  return look();
}

function look(): Attackers {
  const heard: Record<string, number> = {};
  for (const { heard: line } of attackers) if (line !== undefined) heard[line] = (heard[line] ?? 0) + 1;
  return { open: attackers.filter(({ socket }) => !socket.closed).length, heard };
}

async function leave(): Promise<AttackAnswer> {
  const last = look();
  const left = attackers.filter(({ socket }) => !socket.closed);
  attackers = [];
  await Promise.all(left.map(({ socket }) => once(socket.destroy(), 'close')));
  return last;
}

process.on('message', async (request: AttackRequest) => {
  const answered =
    request === 'look'
      ? look()
      : request === 'leave'
        ? leave()
        : 'serve' in request
          ? serve(request.greeting, request.serve)
          : open(request.open, request.port, request.says);
  process.send?.(await answered);
});
// The test is gone.
process.once('disconnect', () => process.exit(0));
