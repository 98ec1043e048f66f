import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { ConfigMistakes } from './config/mistakes.ts';
import { startService } from './service.ts';

/** `node main.ts --config FILE --run-dir DIR --filter FILE.wasm --workers N`: started by `postern up`, beside Envoy. */
const { values } = parseArgs({
  options: {
    config: { type: 'string' },
    'run-dir': { type: 'string' },
    filter: { type: 'string' },
    workers: { type: 'string', default: '1' },
  },
});

const log = pino({ name: 'sidecar-auth', base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));

/** Ends the process with a line that says why; the parent starts it again. */
function fail(error: unknown): never {
  if (error instanceof ConfigMistakes) for (const mistake of error.mistakes) log.fatal(mistake, mistake.text);
  else log.fatal(error instanceof Error ? { err: error } : {}, 'sidecar-auth ends');
  process.exit(1);
}

process.on('unhandledRejection', fail);
process.on('uncaughtException', fail);

const { config, 'run-dir': runDir, filter } = values;
const workers = Number(values.workers);
if (config === undefined || runDir === undefined || filter === undefined || !Number.isInteger(workers) || workers < 1) {
  fail(new Error('needed: --config FILE --run-dir DIR --filter FILE.wasm --workers N'));
}

const service = await startService({ configFile: config, runDir, filterFile: filter, workers, log });

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
