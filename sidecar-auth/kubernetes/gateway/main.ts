import { parseArgs } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { pino } from 'pino';
import { runDirFiles } from '../../../envoy/run-dir.ts';
import { type HostPort, readHostPort } from '../../config/address.ts';
import { ConfigMistakes } from '../../config/mistakes.ts';
import { OBSERVE_ADDRESS } from '../../config/observe.ts';
import type { Service } from '../../service.ts';
import { ApiServer } from './api.ts';
import { drained } from './drain.ts';
import { startGateway } from './run.ts';

/**
 * sidecar-auth in a gateway's pod, beside Envoy:
 *
 *   node main.ts --folder DIR --run-dir DIR --filter FILE.wasm --workers N --gateway-namespace NAMESPACE
 *     [--namespaces a,b | --managed-namespaces all|SELECTOR] [--config FILE] [--address IP[,IP]] [--observe IP:PORT] [--allow-loopback]
 *
 * --folder         private, below a volume in memory (emptyDir): a container that starts again finds there what it knew
 * --run-dir        shared with Envoy's container, which has the same user: `envoy -c DIR/envoy.json --concurrency N --disable-hot-restart
 *                  --drain-time-s 86400 --parent-shutdown-time-s 86460`
 * --filter         where Envoy's container has the filter
 * --config         docs/configuration.md without `listeners` and `destinations.directory`; its paths must be absolute
 * --address        where listeners listen; by default POD_IPS (status.podIPs by the downward API), else 0.0.0.0
 * --observe        /healthz, /readyz, /metrics (docs/configuration.md) and /drain (drain.ts), the last one with POD_NAME (metadata.name by the downward API)
 * --allow-loopback for tests: mail servers and token services may be on this machine
 */
const { values } = parseArgs({
  options: {
    folder: { type: 'string' },
    'run-dir': { type: 'string' },
    filter: { type: 'string' },
    workers: { type: 'string', default: '1' },
    'gateway-namespace': { type: 'string' },
    namespaces: { type: 'string', default: '' },
    'managed-namespaces': { type: 'string', default: 'all' },
    config: { type: 'string' },
    address: { type: 'string', default: process.env.POD_IPS || '0.0.0.0' },
    observe: { type: 'string' },
    'allow-loopback': { type: 'boolean', default: false },
  },
});

const log = pino({ name: 'gateway', base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));

/** Ends the process with a line that says why; the kubelet starts the container again. */
function fail(error: unknown): never {
  if (error instanceof ConfigMistakes) for (const mistake of error.mistakes) log.fatal(mistake, mistake.text);
  else log.fatal(error instanceof Error ? { err: error } : {}, 'the gateway ends');
  process.exit(1);
}

process.on('unhandledRejection', fail);
process.on('uncaughtException', fail);

const { folder, 'run-dir': runDir, filter: filterFile, config: baseFile, 'managed-namespaces': managed } = values;
const { 'gateway-namespace': gatewayNamespace } = values;
const workers = Number(values.workers);
if (!folder || !runDir || !filterFile || !gatewayNamespace || !Number.isInteger(workers) || workers < 1) {
  fail(new Error('needed: --folder DIR --run-dir DIR --filter FILE.wasm --workers N --gateway-namespace NAMESPACE'));
}

const observe = values.observe === undefined ? undefined : observeAddress(values.observe);
const { POD_NAME: pod } = process.env;

const kubernetes = new KubeConfig();
kubernetes.loadFromDefault();
const api = new ApiServer(kubernetes);
const { adminSocket } = runDirFiles(runDir);
let gateway: Service | undefined;

/** Ready no more at first, and then it stays as long as Envoy has sessions. As a native sidecar it is told to end only when Envoy has gone. */
async function end(): Promise<void> {
  gateway?.drain();
  await drained(adminSocket, 0);
  await gateway?.close();
  process.exit(0);
}

// Before anything else: as process 1 we have no defaults. Both may come, from a terminal and its shell; the second changes nothing.
process.once('SIGTERM', end);
process.once('SIGINT', end);

gateway = await startGateway({
  api,
  folder,
  runDir,
  filterFile,
  workers,
  ...(baseFile !== undefined && { baseFile }),
  hosts: list(values.address),
  gatewayNamespace,
  namespaces: list(values.namespaces),
  ...(managed !== 'all' && { selector: managed }),
  ...(observe && { observe }),
  ...(pod && { pod: { namespace: gatewayNamespace, name: pod } }),
  allowLoopback: values['allow-loopback'],
  log,
});

log.info({}, 'ready');

function observeAddress(text: string): HostPort | undefined {
  return readHostPort(text, OBSERVE_ADDRESS, (mistake) => fail(new Error(`--observe ${mistake}`)));
}

function list(text: string): string[] {
  return text.split(',').filter((one) => one !== '');
}
