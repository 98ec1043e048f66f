import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PROTOCOLS } from './arm.ts';
import { type Sockets, socketsIn } from './between.ts';

/** A relay in Node without SOCKS, token and TLS: what Postern's own is held against. */
export async function startBareRelay(options: {
  directory: string;
  upstream: Record<string, number>;
}): Promise<Sockets> {
  const sockets = socketsIn(options.directory);
  const args = PROTOCOLS.flatMap((protocol) => [sockets[protocol], String(options.upstream[protocol])]);
  const child = fork(join(import.meta.dirname, 'bare-relay-process.ts'), args, { execArgv: [] });
  await once(child, 'message');
  return {
    name: 'bare relay',
    ports: {},
    pids: () => [child.pid as number],
    stop: async () => {
      const gone = once(child, 'exit');
      child.disconnect();
      await gone;
    },
    sockets,
  };
}
