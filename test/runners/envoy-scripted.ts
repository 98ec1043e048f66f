import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyReady, startEnvoy } from '../../cli/children.ts';
import { envoyBinary } from '../../cli/envoy-binary.ts';
import { filterBinary } from '../../cli/filter-binary.ts';
import { makeRunDir, removeRunDir } from '../../cli/run-dir.ts';
import { listenersResource } from '../../envoy/listener.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import { sessionAnswer } from './answer.ts';
import type { Dialog } from './dialog.ts';
import { countedFailures, type Place, type PlayStage, placeFor } from './envoy-stage.ts';
import { startEcho, Witness } from './envoy-witness.ts';
import { fields } from './helper-events.ts';
import { ScriptedHelper } from './scripted-helper.ts';

const WITNESS = 'smtp:witness';

/** One Envoy whose sidecar-auth is a script: for dialogs that say what is asked of it and what it answers. */
export class ScriptedStage implements PlayStage {
  readonly places: Map<Dialog, Place>;
  readonly helper: ScriptedHelper;
  readonly #directory: string;
  readonly #runDir: string;
  readonly #envoy: ChildProcess;
  readonly #servers: Server[];

  private constructor(
    places: Map<Dialog, Place>,
    helper: ScriptedHelper,
    {
      directory,
      runDir,
      envoy,
      servers,
    }: { directory: string; runDir: string; envoy: ChildProcess; servers: Server[] },
  ) {
    this.places = places;
    this.helper = helper;
    this.#directory = directory;
    this.#runDir = runDir;
    this.#envoy = envoy;
    this.#servers = servers;
  }

  /** @param loginTimeout seconds: what the dialogs call the deadline */
  static async start(dialogs: Dialog[], loginTimeout: number): Promise<ScriptedStage> {
    const directory = await mkdtemp(join(tmpdir(), 'dialogs-'));
    const places = new Map<Dialog, Place>();
    for (const [index, dialog] of dialogs.entries()) places.set(dialog, await placeFor(directory, index));
    const echo = await startEcho();
    const runDir = makeRunDir([], loginTimeout);
    const sessions = new Map([...places].map((place) => sessionFor(place, loginTimeout)));
    sessions.set(WITNESS, witnessSession(echo.port));
    const helper = new ScriptedHelper((id) => sessions.get(id) ?? '');
    await helper.listen(runDirFiles(runDir).helperSocket);
    await writeListeners(runDir, directory, places);
    const envoy = await launch(runDir, join(directory, 'log'));
    const servers = [...[...places.values()].map(({ server }) => server), echo.server];
    return new ScriptedStage(places, helper, { directory, runDir, envoy, servers });
  }

  witness(): Promise<Witness> {
    return Witness.start(join(this.#directory, 'witness'));
  }

  failures(): Promise<Record<string, number>> {
    return countedFailures(runDirFiles(this.#runDir).adminSocket);
  }

  async stop(): Promise<void> {
    this.#envoy.kill();
    if (this.#envoy.exitCode === null && this.#envoy.signalCode === null) await once(this.#envoy, 'exit');
    this.helper.close();
    for (const server of this.#servers) server.close();
    removeRunDir(this.#runDir);
    await rm(this.#directory, { recursive: true, force: true });
  }
}

const listenerId = (dialog: Dialog, place: Place) => `${dialog.protocol}:${place.name}`;

/** The place's name is the route's id too: by it a question finds its dialog. */
function sessionFor([dialog, place]: [Dialog, Place], loginTimeout: number): [string, string] {
  const { name, port } = place;
  const here = {
    route: name,
    destination: name,
    address: `127.0.0.1:${port}`,
    deadline: `${loginTimeout * 1000}`,
    // A dialog is played several times, each time from its beginning.
    capabilities: 'asked',
  };
  return [listenerId(dialog, place), sessionAnswer(dialog, here)];
}

function witnessSession(port: number): string {
  const where = { route: 'witness', destination: 'witness', to: 'direct', address: `127.0.0.1:${port}` };
  return fields({ ...where, login: 'none', hello: 'postern.test', deadline: '30000', limit: '1000', keep: '60' });
}

async function writeListeners(runDir: string, directory: string, places: Map<Dialog, Place>): Promise<void> {
  const listeners = [...places].map(([dialog, place]) => ({ id: listenerId(dialog, place), path: place.path }));
  listeners.push({ id: WITNESS, path: join(directory, 'witness') });
  const resource = listenersResource(
    listeners.map(({ id, path }) => ({ id, address: { path, mode: 0o600 }, exactBalance: false })),
    await filterBinary(),
  );
  await writeFile(runDirFiles(runDir).listenersFile, JSON.stringify(resource));
}

/** One worker: the witness must be on the dialog's own. */
async function launch(runDir: string, logFile: string): Promise<ChildProcess> {
  const files = runDirFiles(runDir);
  const envoy = startEnvoy(await envoyBinary(), files.bootstrapFile, 1, openSync(logFile, 'a', 0o600));
  await envoyReady(envoy, files);
  return envoy;
}
