import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { type HostPort, readHostPort } from './config/address.ts';
import { ConfigMistakes } from './config/mistakes.ts';
import { OBSERVE_ADDRESS } from './config/observe.ts';
import { startService } from './service.ts';

/**
 * `node main.ts --config FILE --run-dir DIR --filter FILE.wasm --workers N [--envoy-admin SOCKET] [--observe IP:PORT]`: started by
 * `postern up`, beside Envoy. The last two: see ServiceOptions.
 */
const { values } = parseArgs({
  options: {
    config: { type: 'string' },
    'run-dir': { type: 'string' },
    filter: { type: 'string' },
    workers: { type: 'string', default: '1' },
    'envoy-admin': { type: 'string' },
    observe: { type: 'string' },
  },
});

const log = pino({ name: 'sidecar-auth', base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));

/** Ends the process with a line that says why; the parent starts it again. */
function fail(error: unknown): never {
  if (error instanceof ConfigMistakes) for (const mistake of error.mistakes) log.fatal(mistake, mistake.text);
  else log.fatal(error instanceof Error ? { err: error } : {}, 'sidecar-auth ends');
  process.exit(1);
}

function observeAddress(text: string): HostPort | undefined {
  return readHostPort(text, OBSERVE_ADDRESS, (mistake) => fail(new Error(`--observe ${mistake}`)));
}

process.on('unhandledRejection', fail);
process.on('uncaughtException', fail);

const { config, 'run-dir': runDir, filter, 'envoy-admin': adminSocket } = values;
const workers = Number(values.workers);
if (config === undefined || runDir === undefined || filter === undefined || !Number.isInteger(workers) || workers < 1) {
  fail(new Error('needed: --config FILE --run-dir DIR --filter FILE.wasm --workers N'));
}

const observe = values.observe === undefined ? undefined : observeAddress(values.observe);
const service = await startService({
  configFile: config,
  runDir,
  filterFile: filter,
  workers,
  log,
  ...(adminSocket !== undefined && { adminSocket }),
  ...(observe && { observe }),
});

let ending = false;
async function end(why: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.debug({ why }, 'ends');
  await service.close();
  process.exit(0);
}

process.once('SIGTERM', end);
process.once('SIGINT', end);
// The parent is gone without a word: a sidecar-auth of its own would hold the credentials for nobody.
if (process.send) process.once('disconnect', () => end('the parent is gone'));
process.send?.({ ready: true });
