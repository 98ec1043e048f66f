import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { Wire } from './envoy-wire.ts';

/** Milliseconds for a round trip on a busy machine. */
const ROUND_TRIP = 5000;

/** A server that greets, and from then on sends back whatever comes. */
export async function startEcho(): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write('220 echo\r\n');
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

/**
 * A second session through the same worker of Envoy. A worker takes events in the order in which they came; so when a line
 * is back from the echo, Envoy has done all that it will do about what was sent before. That is how "nothing comes" is seen without
 * waiting. A trap of the VM ends this session too, whichever session caused it.
 */
export class Witness {
  readonly #wire: Wire;
  #count = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  static async start(path: string): Promise<Witness> {
    const wire = await Wire.open({ path });
    await wire.until(() => wire.received.includes('\r\n'), ROUND_TRIP);
    wire.take();
    const witness = new Witness(wire);
    await witness.roundTrip();
    return witness;
  }

  async roundTrip(): Promise<void> {
    const line = `MAIL FROM:<${++this.#count}@example.org>\r\n`;
    this.#wire.says(Buffer.from(line));
    const back = await this.#wire.until(() => this.#wire.received === line, ROUND_TRIP);
    if (!back) throw new Error('a session beside this dialog died: the VM trapped, or Envoy hangs');
    this.#wire.take();
  }

  end(): void {
    this.#wire.destroy();
  }
}
