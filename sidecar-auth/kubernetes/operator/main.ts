import { KubeConfig } from '@kubernetes/client-node';
import { pino } from 'pino';
import { ConfigMistakes } from '../../config/mistakes.ts';
import { startObserve } from '../../observe/server.ts';
import { Api } from './api.ts';
import { readBase } from './base.ts';
import { factsOf, type State } from './facts.ts';
import { Candidate, type Lease, type LeaseStore } from './lease.ts';
import { lookUpBy } from './look-up.ts';
import { pathOf } from './objects.ts';
import { Operator, type OperatorOptions } from './operator.ts';
import { type Options, readOptions } from './options.ts';

/** `node main.ts --gateway-namespace NAMESPACE [...]`: see options.ts. The API server is that of the pod, or of KUBECONFIG. */
const log = pino({ name: 'postern-operator', base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));

/** Ends the process with a line that says why; the kubelet starts the container again. */
function fail(error: unknown): never {
  if (error instanceof ConfigMistakes) for (const mistake of error.mistakes) log.fatal(mistake, mistake.text);
  else log.fatal(error instanceof Error ? { err: error } : {}, 'the operator ends');
  process.exit(1);
}

process.on('unhandledRejection', fail);
process.on('uncaughtException', fail);

// Before anything else: as process 1 we have no defaults.
const end = new AbortController();
process.on('SIGTERM', () => end.abort());
process.on('SIGINT', () => end.abort());

const options = readOptions(process.argv.slice(2));
const base = options.config === undefined ? undefined : readBase(options.config);
if (base) log.level = base.logLevel;
const config = new KubeConfig();
config.loadFromDefault();
const api = new Api(config);
const lookUp = base && lookUpBy(base, log);

const state: State = { operator: undefined, lastContact: Number.NEGATIVE_INFINITY };
const observed = options.observe && startObserve(options.observe, factsOf(state), log);
const candidate = new Candidate({
  store: leaseStore(options.lease),
  place: options.lease,
  identity: options.identity,
  onError: (error) => log.warn({ text: (error as Error).message }, 'the Lease can not be had'),
  onContact: () => {
    state.lastContact = performance.now();
  },
});

const { settings, managedNamespaces, identity } = options;
log.info({ identity }, 'waits for the Lease');
await terms(
  {
    config,
    api,
    settings,
    log,
    ...(managedNamespaces !== undefined && { managedNamespaces }),
    ...(lookUp && { lookUp }),
  },
  end.signal,
);
await observed?.close();
api.close();

/** Term after term: whoever loses the Lease stops and stands again. */
async function terms(work: OperatorOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await candidate.acquire(signal).catch(() => {});
    if (signal.aborted) return;
    await lead(work, signal);
    if (signal.aborted) await candidate.release().catch(() => {});
    else log.warn({}, 'leads no more');
  }
}

async function lead(work: OperatorOptions, signal: AbortSignal): Promise<void> {
  const term = new AbortController();
  const operator = new Operator(work);
  state.operator = operator;
  const done = operator.run(term.signal);
  await Promise.race([candidate.hold(signal), done]);
  term.abort();
  await done;
  state.operator = undefined;
}

function leaseStore({ name, namespace }: Options['lease']): LeaseStore {
  const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
  return {
    get: () => api.get<Lease>(pathOf(kind, namespace, name)),
    create: (lease) => api.create<Lease>(pathOf(kind, namespace), lease),
    replace: (lease) => api.replace<Lease>(pathOf(kind, namespace, name), lease),
  };
}
