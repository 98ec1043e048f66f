import { lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';

/**
 * Listens on a Unix socket of mode 0600, so that only this user's Envoy reaches it. A socket that a dead process left
 * behind is replaced; a live one, or a file that is no socket, is an error (code EADDRINUSE).
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const umask = process.umask(0o177); // a chmod afterwards would leave a moment for others
    try {
      server.listen(path, () => resolve(server.off('error', reject) && undefined)); // binds before it returns
    } finally {
      process.umask(umask);
    }
  });
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSocket()) return;
  if (!(await isAlive(path))) await unlink(path);
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => probe.destroy() && resolve(true));
    probe.once('error', () => resolve(false));
  });
}
