// Servers by IPv6, and names with two addresses, through real Envoy.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { envoyReady, startEnvoy } from '../../cli/children.ts';
import { envoyBinary } from '../../cli/envoy-binary.ts';
import { filterBinary } from '../../cli/filter-binary.ts';
import { makeRunDir, removeRunDir } from '../../cli/run-dir.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import type { Resolved } from '../../sidecar-auth/route/resolve.ts';
import { startService } from '../../sidecar-auth/service.ts';
import { freePorts } from './daemon.ts';
import { Wire } from './wire.ts';

const V4 = '127.0.0.1';
const V6 = '::1';
/** The name that the certificates are for. */
const TLS_NAME = 'tls.example';

const hasV6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === V6));

/** What each name has, in the order in which sidecar-auth prefers them. */
const ADDRESSES: Record<string, string[]> = {
  'v6-first.example': [V6, V4],
  'v4-first.example': [V4, V6],
  [TLS_NAME]: [V6, V4],
};

async function resolve(host: string): Promise<Resolved> {
  return { addresses: ADDRESSES[host] ?? [host], keep: 30 };
}

/** A server that says where it was reached, and takes every login. */
function serve(socket: Socket): void {
  const where = socket.localAddress;
  const answers: Record<string, string> = { EHLO: `250-${where}\r\n250 AUTH PLAIN`, AUTH: '235 welcome' };
  let unread = '';
  socket.setEncoding('latin1').on('error', () => socket.destroy());
  socket.write(`220 ${where}\r\n`);
  socket.on('data', (text: string) => {
    unread += text;
    for (let end = unread.indexOf('\r\n'); end >= 0; end = unread.indexOf('\r\n')) {
      socket.write(`${answers[unread.slice(0, 4)] ?? `250 logged in at ${where}`}\r\n`);
      unread = unread.slice(end + 2);
    }
  });
}

async function listen(server: Server, host: string): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Destinations, each with a listener of its name. `where`: what the server must say of itself; undefined: nobody answers. */
const CASES = [
  { name: 'literal', host: V6, at: V6, tls: false },
  { name: 'literal-tls', host: V6, at: V6, tls: true },
  { name: 'second-is-v4', host: 'v6-first.example', at: V4, tls: false },
  { name: 'second-is-v6', host: 'v4-first.example', at: V6, tls: false },
  { name: 'second-by-tls', host: TLS_NAME, at: V4, tls: true },
  { name: 'first-is-v6', host: 'v6-first.example', at: V6, tls: false },
  { name: 'none', host: 'v6-first.example', at: undefined, tls: false },
  { name: 'none-tls', host: TLS_NAME, at: undefined, tls: true },
] as const;

describe.skipIf(!hasV6)(`addresses (${hasV6 ? V6 : `skipped: ${V6} is not there`})`, () => {
  let directory: string;
  let runDir: string | undefined;
  let service: { close(): Promise<void> } | undefined;
  let envoy: ChildProcess | undefined;
  const servers: Server[] = [];
  const ports = new Map<string, number>();
  const serverPorts = new Map<string, number>();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'addresses-'));
    await mkdir(join(directory, 'destinations'));
    const certificates = await createCertificates(join(directory, 'certificates'));
    const { cert, key } = await certificates.issue('server', { names: [TLS_NAME], addresses: [V6] });
    const [dead] = await freePorts(1);
    const free = await freePorts(CASES.length);
    for (const [index, { name, host, at, tls }] of CASES.entries()) {
      const server = tls ? createTlsServer({ cert, key }, serve) : createServer(serve);
      if (at) servers.push(server);
      const port = at ? await listen(server, at) : (dead as number);
      serverPorts.set(name, port);
      ports.set(name, free[index] as number);
      await writeFile(
        join(directory, 'destinations', `${name}.json`),
        JSON.stringify(destination(name, tls ? 'smtps' : 'smtp', host, port)),
      );
    }
    const configFile = join(directory, 'postern.yaml');
    await writeFile(configFile, JSON.stringify(file(certificates.caFile)));
    await start(configFile, certificates.caFile);
  }, 120_000);

  afterAll(async () => {
    if (envoy?.kill()) await once(envoy, 'exit');
    await service?.close();
    if (runDir) removeRunDir(runDir);
    for (const server of servers) server.close();
    await rm(directory, { recursive: true, force: true });
  });

  function destination(name: string, transport: string, host: string, port: number): object {
    return {
      Name: name,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.transport.protocol': transport,
      [`mail.${transport}.host`]: host,
      [`mail.${transport}.port`]: String(port),
      ...(transport === 'smtp' && { 'mail.smtp.starttls.enable': 'false' }),
      'mail.user': 'jane',
      'mail.password': 'secret',
    };
  }

  function file(caFile: string): object {
    const listeners = [...ports].map(([name, port]) => ({ destination: name, address: `${V4}:${port}` }));
    return { destinations: { directory: './destinations' }, tls: { additionalCAs: [caFile] }, listeners };
  }

  /** As `up` does it, with sidecar-auth in this process, for it needs names that no DNS has. */
  async function start(configFile: string, caFile: string): Promise<void> {
    const [filterFile, binary] = await Promise.all([filterBinary(), envoyBinary()]);
    runDir = makeRunDir([caFile], 30);
    const files = runDirFiles(runDir);
    const logFile = join(directory, 'log');
    const log = pino(pino.destination({ dest: logFile, sync: true }));
    service = await startService({ configFile, runDir, filterFile, workers: 1, log, resolve });
    const handle = await open(logFile, 'a');
    envoy = startEnvoy(binary, files.bootstrapFile, 1, handle.fd);
    await handle.close();
    await envoyReady(envoy, files);
  }

  test.each(CASES.filter(({ at }) => at !== undefined))('$name: $host, served at $at', async ({ name, at }) => {
    const wire = await Wire.open(ports.get(name) as number);
    try {
      expect(await wire.expect(/^.*\r\n/)).toBe(`220 ${at}\r\n`);
      expect(await wire.ask('MAIL FROM:<app@addresses.example>', /^.*\r\n/)).toBe(`250 logged in at ${at}\r\n`);
    } finally {
      wire.close();
    }
  });

  test.each(CASES.filter(({ at }) => at === undefined))(
    '$name: both refuse: one error, then the end',
    async ({ name }) => {
      const wire = await Wire.open(ports.get(name) as number);
      // The last one that was tried is named.
      const server = `${V4}:${serverPorts.get(name)}`;
      expect(await wire.rest()).toBe(`421 4.4.1 postern: ${name}: connect: no connection to ${server}\r\n`);
    },
  );
});
