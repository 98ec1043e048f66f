import { once } from 'node:events';
import { connect } from 'node:net';

/** Milliseconds: networks that heed NetworkPolicies mostly drop packets, so that nothing comes back. */
const TIMEOUT = 3_000;

/** Those that accept a connection. A refusal is no: ready pods listen there, so it comes from the network. */
export async function reached(addresses: string[], port: number, timeout = TIMEOUT): Promise<string[]> {
  const answers = await Promise.all(addresses.map((address) => accepts(address, port, timeout)));
  return addresses.filter((_, index) => answers[index]);
}

async function accepts(host: string, port: number, timeout: number): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(timeout) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
