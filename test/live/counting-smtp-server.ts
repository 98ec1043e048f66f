import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';

/** A server that takes one account, and closes whoever has not logged in after `patience` milliseconds. */
export class CountingSmtpServer {
  readonly user: string;
  readonly sockets = new Set<Socket>();
  /** Of connections that were made, of logins, and of logins with another account. */
  connections = 0;
  logins = 0;
  wrong = 0;
  patience = 60_000;
  readonly #tls: SecureContext | undefined;
  readonly #server: Server;

  /** `tls`: nobody logs in without STARTTLS. */
  constructor(user: string, tls?: SecureContext) {
    this.user = user;
    this.#tls = tls;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that have not logged in, where no session runs. */
  get waiting(): number {
    return this.sockets.size;
  }

  listen(): Promise<unknown> {
    return once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
  }

  #accept(socket: Socket): void {
    this.connections += 1;
    const timer = setTimeout(() => socket.destroy(), this.patience);
    if (!this.#tls) this.#keep(socket);
    this.#serve(socket, this.#tls, () => clearTimeout(timer));
    socket.write(`220 ${this.user} ready\r\n`);
  }

  #keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
  }

  /** Each command comes in a packet of its own. */
  #serve(socket: Socket, tls: SecureContext | undefined, onLogin: () => void): void {
    socket.on('error', () => {});
    const onData = (chunk: Buffer) => {
      const [verb = '', , response = ''] = chunk.toString('latin1').trimEnd().split(' ');
      if (verb === 'STARTTLS' && tls) {
        socket.off('data', onData).pause().write('220 go\r\n');
        this.#secure(socket, tls, onLogin);
        return;
      }
      if (verb === 'AUTH') {
        onLogin();
        const own = !tls && Buffer.from(response, 'base64').toString() === `\0${this.user}\0pass`;
        if (own) this.logins += 1;
        else this.wrong += 1;
      }
      socket.write(answer(verb, tls ? 'STARTTLS' : 'AUTH PLAIN'));
      if (verb === 'QUIT') socket.end();
    };
    socket.on('data', onData);
  }

  #secure(socket: Socket, secureContext: SecureContext, onLogin: () => void): void {
    const secure = new TLSSocket(socket, { isServer: true, secureContext });
    secure.once('secure', () => this.#keep(secure));
    this.#serve(secure, undefined, onLogin);
  }
}

function answer(verb: string, offer: string): string {
  if (verb === 'EHLO') return `250-here\r\n250 ${offer}\r\n`;
  return verb === 'AUTH' ? '235 in\r\n' : '250 ok\r\n';
}
