import { join } from 'node:path';
import type { Talker } from '../processes.ts';
import type { Tool } from '../tool.ts';
import { type Arm, PROTOCOLS, type Protocol } from './arm.ts';

/** Parts of the tool that stand between an arm and the mail server (tool/between.go). They are no arms, but end like them. */

/** A network with a round-trip time before each port of the mail server. */
export interface Network extends Arm {
  /** In place of the mail server's own ports. */
  upstream: Record<string, number>;
}

export async function startNetwork(
  tool: Tool,
  upstream: Record<string, number>,
  milliseconds: number,
): Promise<Network> {
  const names = Object.keys(upstream);
  const flags = (port = 0) => ['--round-trip', `${milliseconds}ms`, '--target', `127.0.0.1:${port}`];
  const relays = names.map((name) => tool.start('delay', flags(upstream[name])));
  const heard = await Promise.all(relays.map((relay) => relay.hear<{ port: number }>()));
  return {
    ...partOf(`${milliseconds} ms`, relays),
    upstream: Object.fromEntries(names.map((name, index) => [name, heard[index]?.port ?? 0])),
  };
}

/** A SOCKS5 proxy that leads to the mail server. */
export interface SocksProxy extends Arm {
  port: number;
}

export async function startSocksProxy(tool: Tool): Promise<SocksProxy> {
  const proxy = tool.start('socks');
  return { ...partOf('socks', [proxy]), ...(await proxy.hear<{ port: number }>()) };
}

/** Programs that a plain Envoy leads to. */
export interface Sockets extends Arm {
  sockets: Record<Protocol, string>;
}

/** A tunnel in Go for each protocol, through the SOCKS5 proxy. */
export async function startTunnels(
  tool: Tool,
  { directory, upstream }: { directory: string; upstream: Record<string, number> },
  proxy: SocksProxy,
): Promise<Sockets> {
  const sockets = socketsIn(directory);
  const tunnels = PROTOCOLS.map((protocol) =>
    tool.start('tunnel', [
      ...['--listen', sockets[protocol]],
      ...['--socks', `127.0.0.1:${proxy.port}`, '--port', String(upstream[protocol])],
    ]),
  );
  await Promise.all(tunnels.map((tunnel) => tunnel.hear()));
  return { ...partOf('tunnel', tunnels), sockets };
}

export function socketsIn(directory: string): Record<Protocol, string> {
  const path = (protocol: Protocol) => join(directory, `${protocol}.sock`);
  return { smtp: path('smtp'), imap: path('imap'), pop3: path('pop3') };
}

function partOf(name: string, talkers: Talker[]): Arm {
  return {
    name,
    ports: {},
    pids: () => talkers.map(({ pid }) => pid),
    stop: async () => void (await Promise.all(talkers.map((talker) => talker.stop()))),
  };
}
