import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { cacheDir } from '../../cli/paths.ts';
import { run } from '../../cli/run.ts';
import { freePorts, startDaemon } from '../../test/live/daemon.ts';
import { family } from '../processes.ts';
import { ACCOUNT, type Arm, type ArmOptions, PROTOCOLS, type Protocol } from './arm.ts';

const RELEASE = 'emailproxy==2026.7.3';

/** For the programs `python3` and `pip`, wherever those come from otherwise. */
export const PACKAGES = ['python3', 'python3-pip'];

/** The Debian packages that it lacks; undefined where it can run. */
export function missing(): string | undefined {
  return spawnSync('python3', ['-m', 'pip', '--version']).status === 0 ? undefined : PACKAGES.join(', ');
}

/**
 * email-oauth2-proxy: the app logs in with a password, which decrypts the token that the proxy keeps; the proxy logs in with
 * that one, always by TLS. Its backlog is 5 (`listen(5)`), and its key derivation keeps all processors busy: with 16 apps at once
 * connections wait in vain. 4 at once are well.
 */
export async function start(options: ArmOptions): Promise<Arm> {
  const { directory, ca, token } = options;
  if (token === undefined) throw new Error('there is no access token to log in with');
  const library = await install();
  const [smtp, imap, pop3] = (await freePorts(3)) as [number, number, number];
  const ports = { smtp, imap, pop3 };
  const tokens = await tokenEndpoint(token);
  const file = join(directory, 'emailproxy.config');
  const log = join(directory, 'log');
  writeFileSync(file, configuration(options, ports, tokens), { mode: 0o600 });
  const command = ['python3', '-m', 'emailproxy', '--no-gui', '--config-file', file, '--log-file', log];
  const environment = ['env', `PYTHONPATH=${library}`, `SSL_CERT_FILE=${ca}`];
  // It logs to its standard output too, which nobody reads.
  const quiet = ['sh', '-c', 'exec "$@" >/dev/null', 'sh'];
  try {
    const daemon = await startDaemon([...quiet, ...environment, ...command], log, /Initialised/);
    const stop = () => daemon.stop().finally(() => tokens.close());
    return { name: 'email-oauth2-proxy', ports, pids: () => family(daemon.pid), stop };
  } catch (error) {
    tokens.close();
    throw error;
  }
}

/** @returns the folder with the package and what it needs, in the cache */
async function install(): Promise<string> {
  const folder = join(cacheDir(), RELEASE.replace('==', '-'));
  if (existsSync(folder)) return folder;
  const draft = `${folder}.${process.pid}`;
  await run('python3', ['-m', 'pip', 'install', '--quiet', '--target', draft, RELEASE]);
  try {
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true });
    // Another run may have been quicker.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** It is asked at the first login only: the token is valid for longer than the benchmark takes. */
async function tokenEndpoint(token: string): Promise<Server> {
  const body = JSON.stringify({ access_token: token, token_type: 'Bearer', expires_in: 86_400 });
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

/** Its own name of a protocol. */
const SECTION = { smtp: 'SMTP', imap: 'IMAP', pop3: 'POP' };

function configuration(options: ArmOptions, ports: Record<Protocol, number>, tokens: Server): string {
  const servers = PROTOCOLS.map(
    (protocol) => `
[${SECTION[protocol]}-${ports[protocol]}]
local_address = 127.0.0.1
server_address = 127.0.0.1
server_port = ${options.upstream[`${protocol}s`]}
`,
  );
  return `${servers.join('')}
[${ACCOUNT.user}]
token_url = http://127.0.0.1:${(tokens.address() as AddressInfo).port}/
oauth2_flow = client_credentials
oauth2_scope = mail
client_id = bench
client_secret = bench-secret
`;
}
