import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { askAdmin } from '../../envoy/admin.ts';
import type { Dialog } from './dialog.ts';
import { startEcho, Witness } from './envoy-witness.ts';
import type { ScriptedHelper } from './scripted-helper.ts';

/** tcpmux: nobody listens there, and no program is given it by chance. */
const DEAD_PORT = 1;

/** What one dialog is played on. */
export interface Place {
  /** The destination's name: as long as `mail`, for texts are cut at a length. */
  name: string;
  /** The listener's Unix socket. */
  path: string;
  server: Server;
  port: number;
}

/** An Envoy with a listener and a server for each dialog. */
export interface PlayStage {
  readonly places: Map<Dialog, Place>;
  /** Stands in for sidecar-auth; undefined where that runs itself. */
  readonly helper?: ScriptedHelper;
  /** A session beside the dialogs. */
  witness(): Promise<Witness>;
  /** The failures that the filter has counted so far: `smtp.rejected` and the like. */
  failures(): Promise<Record<string, number>>;
  stop(): Promise<void>;
}

/** One Envoy and one sidecar-auth, with a destination in a file for each dialog. */
export class Stage implements PlayStage {
  readonly places: Map<Dialog, Place>;
  readonly #directory: string;
  readonly #running: Running;
  readonly #servers: Server[];

  private constructor(directory: string, places: Map<Dialog, Place>, servers: Server[], running: Running) {
    this.#directory = directory;
    this.places = places;
    this.#servers = servers;
    this.#running = running;
  }

  /** @param loginTimeout seconds: what the dialogs call the deadline */
  static async start(dialogs: Dialog[], loginTimeout: number): Promise<Stage> {
    const directory = await mkdtemp(join(tmpdir(), 'dialogs-'));
    await mkdir(join(directory, 'destinations'));
    const places = new Map<Dialog, Place>();
    for (const [index, dialog] of dialogs.entries()) places.set(dialog, await placeFor(directory, index));
    const echo = await startEcho();
    const servers = [...[...places.values()].map(({ server }) => server), echo.server];
    const destinations = [...[...places].map(destinationOf), witnessDestination(echo.port)];
    for (const destination of destinations) {
      await writeFile(join(directory, 'destinations', `${destination.Name}.json`), JSON.stringify(destination));
    }
    const witness = { destination: 'witness', address: join(directory, 'witness') };
    const listeners = [...[...places].map(listenerOf), witness];
    const configFile = join(directory, 'postern.yaml');
    const file = { destinations: { directory: './destinations' }, listeners, loginTimeout };
    await writeFile(configFile, JSON.stringify(file));
    // One worker: the witness must be on the dialog's own.
    return new Stage(directory, places, servers, await up({ configFile, workers: 1, logFile: join(directory, 'log') }));
  }

  witness(): Promise<Witness> {
    return Witness.start(join(this.#directory, 'witness'));
  }

  failures(): Promise<Record<string, number>> {
    return countedFailures(this.#running.adminSocket);
  }

  async stop(): Promise<void> {
    await this.#running.stop();
    for (const server of this.#servers) server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export async function countedFailures(adminSocket: string): Promise<Record<string, number>> {
  const stats = await askAdmin(adminSocket, '/stats?filter=^wasmcustom.postern&usedonly');
  const counted = stats.matchAll(/^wasmcustom\.postern\.(\w+)\.[\w-]+\.failure\.(\w+)(?:\.\w+)?: (\d+)$/gm);
  const sums: Record<string, number> = {};
  for (const [, protocol, code, count] of counted) {
    const name = `${protocol}.${code}`;
    sums[name] = (sums[name] ?? 0) + Number(count);
  }
  return sums;
}

export async function placeFor(directory: string, index: number): Promise<Place> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const name = `m${String(index).padStart(3, '0')}`;
  return { name, path: join(directory, name), server, port: (server.address() as AddressInfo).port };
}

/** A dialog's text is octets, a file's is Unicode. */
export function unicode(octets: string): string {
  return Buffer.from(octets, 'latin1').toString('utf8');
}

/** A destination file's content. */
type Properties = Record<string, string>;

function destinationOf([dialog, place]: [Dialog, Place]): Properties {
  const { protocol, login, mechanisms, unreachable } = dialog;
  const transport = unreachable === 'tls' ? `${protocol}s` : protocol;
  return {
    Name: place.name,
    ...internet(transport, unreachable === 'connect' ? DEAD_PORT : place.port),
    // A dialog is played several times, each time from its beginning.
    ...(protocol !== 'smtp' && { [`mail.${transport}.capabilities`]: 'asked' }),
    ...(mechanisms !== undefined && { [`mail.${transport}.auth.mechanisms`]: mechanisms }),
    ...(login
      ? {
          Authentication: 'BasicAuthentication',
          'mail.user': unicode(login.user),
          'mail.password': unicode(login.password),
        }
      : { Authentication: 'NoAuthentication' }),
  };
}

function witnessDestination(port: number): Properties {
  return { Name: 'witness', ...internet('smtp', port), Authentication: 'NoAuthentication' };
}

function internet(transport: string, port: number): Properties {
  return {
    Type: 'MAIL',
    ProxyType: 'Internet',
    'mail.transport.protocol': transport,
    [`mail.${transport}.host`]: '127.0.0.1',
    [`mail.${transport}.port`]: String(port),
    ...(!transport.endsWith('s') && { [`mail.${transport}.starttls.enable`]: 'false' }),
    ...(transport.startsWith('smtp') && { 'mail.smtp.localhost': 'postern.test' }),
  };
}

function listenerOf([{ app, preauth }, { name, path }]: [Dialog, Place]): object {
  return {
    destination: name,
    address: path,
    ...(app && { app: { user: unicode(app.user), password: unicode(app.password) } }),
    ...(preauth && { greeting: 'preauth' }),
  };
}
