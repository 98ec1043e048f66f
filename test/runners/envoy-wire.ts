import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** One end of a connection, as a script plays it: what came, and how it ended. */
export class Wire {
  readonly socket: Socket;
  /** What came and was not taken; latin1, one character an octet. */
  received = '';
  /** The other end closed its sending direction. */
  ended = false;
  /** The connection was cut, and not closed. */
  broken: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      this.received += bytes.toString('latin1');
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.broken = error.code ?? error.message;
    });
  }

  static async open(where: NetConnectOpts): Promise<Wire> {
    const socket = connect({ ...where, allowHalfOpen: true });
    const wire = new Wire(socket);
    await once(socket, 'connect');
    return wire;
  }

  says(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  take(): string {
    const taken = this.received;
    this.received = '';
    return taken;
  }

  /** Whether `condition` becomes true within `ms`; it is looked at whenever something happens here. */
  async until(condition: () => boolean, ms: number): Promise<boolean> {
    const signal = AbortSignal.timeout(ms);
    while (!condition()) {
      if (this.socket.closed || signal.aborted) return false;
      await nextEvent(this.socket, signal);
    }
    return true;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

const EVENTS = ['data', 'end', 'close'] as const;

/** After this resolves the Wire's own handlers, which were there first, have run. */
function nextEvent(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of EVENTS) socket.off(event, done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    for (const event of EVENTS) socket.on(event, done);
    signal.addEventListener('abort', done);
  });
}
