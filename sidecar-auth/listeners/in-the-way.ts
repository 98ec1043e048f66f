import { lstatSync } from 'node:fs';
import { connect, createServer, type ListenOptions } from 'node:net';
import { type Address, addressText } from '../config/address.ts';

/**
 * Why an address can't be used, one line; `undefined` when it is free. Envoy itself would not notice: it listens with
 * SO_REUSEPORT and would share a port with another Envoy without a word, and it deletes whatever stands at a Unix socket's path.
 */
export function inTheWay(address: Address): Promise<string | undefined> {
  return 'path' in address ? checkPath(address.path) : checkPort(address);
}

async function checkPort(address: { host: string; port: number }): Promise<string | undefined> {
  const shown = addressText(address);
  const code = await listenOnce({ ...address, exclusive: true });
  if (code === 'EADDRINUSE') return `${shown} is in use by another program`;
  if (code === 'EADDRNOTAVAIL') return `${shown} is not an address of this machine`;
  if (code === 'EACCES') return `${shown} may not be used by this user (ports below 1024 need a privilege)`;
  return code && `${shown} can't be used: ${code}`;
}

/** Node sets no SO_REUSEPORT, and so the system refuses the address even where an Envoy has it. */
function listenOnce(options: ListenOptions): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(options, () => server.close(() => resolve(undefined)));
  });
}

async function checkPath(path: string): Promise<string | undefined> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (!stat.isSocket()) return `${path} exists and is not a socket`;
  return (await connectOnce(path)) === '' ? `${path} is in use by another program` : undefined;
}

/** Whether a socket is left there on which nobody listens; a full queue (EAGAIN) or a missing right is somebody's. */
export async function isAbandoned(path: string): Promise<boolean> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isSocket() === true && (await connectOnce(path)) === 'ECONNREFUSED';
}

/** The error's code; empty where somebody answers. */
function connectOnce(path: string): Promise<string> {
  const socket = connect(path);
  return new Promise<string>((resolve) => {
    socket.once('connect', () => resolve(''));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  }).finally(() => socket.destroy());
}
