// `npm start`: a world of its own with Postern in front of it, until Ctrl-C.
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onStopSignals } from '../cli/signals.ts';
import { up } from '../cli/up.ts';
import { banner, type Programs } from './banner.ts';
import { startWorld } from './world.ts';

const KILLED = 130;

const stopped = Promise.withResolvers<void>();
onStopSignals(
  () => stopped.resolve(),
  () => process.exit(KILLED),
);

/** What `start` opened, to be closed in reverse order. */
const cleanups: (() => Promise<unknown>)[] = [];

try {
  process.exitCode = await Promise.race([start(), stopped.promise.then(() => 0)]);
} catch (error) {
  say(`could not start: ${(error as Error).message}`);
  process.exitCode = 1;
}
await cleanUp();

/** @returns the exit code, once Postern has ended by itself */
async function start(): Promise<number> {
  say('starting a mail server, an OpenID provider, a Destination service and a Connectivity Proxy');
  const directory = await mkdtemp(path.join(tmpdir(), 'postern-demo-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
  const world = await startWorld(directory);
  cleanups.push(() => world.close());
  const logFile = path.join(directory, 'postern.log');
  const postern = await up({ configFile: world.configFile, progress: say, logFile });
  cleanups.push(() => postern.stop());
  console.log(banner(world, programs(), logFile));
  say('ready');
  return postern.ended;
}

function say(line: string): void {
  console.log(`postern: ${line}`);
}

async function cleanUp(): Promise<void> {
  console.log('');
  say('stopping');
  for (const close of cleanups.reverse()) await close();
  say('stopped');
  process.exit(); // a start that was called off may still be waiting for something
}

function programs(): Programs {
  const client = (['curl', 'python3'] as const).find(installed);
  const terminal = (['telnet', 'nc'] as const).find(installed);
  return { ...(client && { client }), ...(terminal && { terminal }) };
}

function installed(program: string): boolean {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return folders.some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
