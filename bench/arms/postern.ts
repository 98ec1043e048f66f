import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../test/live/daemon.ts';
import { type Arm, type ArmOptions, PROTOCOLS, type Protocol, WORKERS } from './arm.ts';

export interface PosternOptions extends ArmOptions {
  name: string;
  /** How Postern reaches the server. */
  transport: 'plain' | 'tls' | 'starttls' | 'socks';
  authentication?: 'Basic' | 'OAuth2';
  tokenUrl?: string;
  /** Port of the SOCKS5 proxy on 127.0.0.1. */
  socks?: number;
  /** `mail.<protocol>.preconnect`. */
  preconnect?: boolean;
  /** Changes Envoy's bootstrap, for what Postern itself does not offer. */
  edit?: 'shared-pool';
}

/** Postern with one destination per protocol, as `postern up` runs it. */
export async function startPostern(options: PosternOptions): Promise<PosternArm> {
  const ports = await freePorts(PROTOCOLS.length);
  const named = Object.fromEntries(PROTOCOLS.map((protocol, index) => [protocol, ports[index] as number]));
  return runPostern(options.name, named, await writeConfig(options, ports), options.edit);
}

/** Postern with a configuration file of the case's own; `ports` are what that file opens, as far as the case has a use for them. */
export async function runPostern(
  name: string,
  ports: Arm['ports'],
  configFile: string,
  edit?: PosternOptions['edit'],
): Promise<PosternArm> {
  const { child, parts } = await startProcess(configFile, edit);
  const stop = async () => {
    const gone = once(child, 'exit');
    child.send('stop');
    await gone;
  };
  return { name, ports, pids: () => [parts.envoy, parts.helper], ...parts, stop };
}

interface Parts {
  /** Process ids, for figures of the parts. */
  envoy: number;
  helper: number;
  adminSocket: string;
}

export type PosternArm = Arm & Parts;

async function startProcess(configFile: string, edit = ''): Promise<{ child: ChildProcess; parts: Parts }> {
  const child = fork(join(import.meta.dirname, 'postern-process.ts'), [configFile, String(WORKERS), edit], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  });
  const ended = once(child, 'exit').then(() => {
    throw new Error('Postern did not start');
  });
  const [parts] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => {}); // from here on its end is stop's
  return { child, parts };
}

async function writeConfig(options: PosternOptions, ports: number[]): Promise<string> {
  const { directory, ca, socks } = options;
  mkdirSync(join(directory, 'destinations'));
  for (const protocol of PROTOCOLS) {
    writeFileSync(join(directory, 'destinations', `${protocol}.json`), JSON.stringify(destination(protocol, options)));
  }
  const file = join(directory, 'postern.yaml');
  const listeners = PROTOCOLS.map((protocol, index) => ({
    destination: protocol,
    address: `127.0.0.1:${ports[index]}`,
  }));
  const main = {
    destinations: { directory: './destinations' },
    tls: { additionalCAs: [ca] },
    listeners,
    ...(socks && { connectivity: { host: '127.0.0.1', port: socks, token: { file: writeToken(directory) } } }),
  };
  writeFileSync(file, JSON.stringify(main));
  return file;
}

function writeToken(directory: string): string {
  const file = join(directory, 'token');
  writeFileSync(file, 'token', { mode: 0o600 });
  return file;
}

function destination(protocol: Protocol, options: PosternOptions): object {
  const { transport, upstream, authentication = 'Basic', tokenUrl } = options;
  const name = transport === 'tls' ? `${protocol}s` : protocol;
  const property = (key: string) => `mail.${name}.${key}`;
  return {
    Name: protocol,
    Type: 'MAIL',
    ProxyType: transport === 'socks' ? 'OnPremise' : 'Internet',
    'mail.transport.protocol': name,
    [property('host')]: transport === 'socks' ? 'mail.virtual' : 'localhost',
    [property('port')]: String(upstream[name]),
    ...(options.preconnect && { [property('preconnect')]: 'true' }),
    ...(transport === 'plain' && { [property('starttls.enable')]: 'false' }),
    'mail.user': 'bench@example.org',
    ...(authentication === 'Basic'
      ? { Authentication: 'BasicAuthentication', 'mail.password': 'bench-password' }
      : {
          Authentication: 'OAuth2ClientCredentials',
          tokenServiceURL: tokenUrl,
          clientId: 'bench',
          clientSecret: 'bench-secret',
        }),
  };
}
