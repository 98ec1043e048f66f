// In Envoy's stats, read by sidecar-auth (docs/contract.md, "Counters of the filter"): logins and failures of each listener, and the gauge
// wasmcustom.postern.vm.<number>.memory_bytes of each VM (one per worker thread).
import { defineCounter, defineGauge, increment, record } from './host/host';
import { Listener } from './listener';
import { Failure, nameOf } from './protocol/failure';
import { Mechanism } from './protocol/sasl/client';

/** In the order of Mechanism. */
const MECHANISMS: string[] = ['none', 'plain', 'login', 'xoauth2', 'oauthbearer', 'command'];

/** The counters of one listener, each defined at first use: a counter costs Envoy memory on every worker. */
export class Counters {
  /** By mechanism; -1: not defined. A login builds no text. */
  readonly logins: StaticArray<i64> = new StaticArray<i64>(MECHANISMS.length).fill(-1);
  readonly failures: Map<string, i64> = new Map<string, i64>();
}

export function countLogin(listener: Listener, mechanism: Mechanism): void {
  const logins = countersOf(listener).logins;
  if (logins[mechanism] < 0) logins[mechanism] = defineCounter(`${prefixOf(listener)}.login.${MECHANISMS[mechanism]}`);
  increment(logins[mechanism]);
}

/** `mechanism`: none where the login at the server had not begun. */
export function countFailure(listener: Listener, failure: Failure, mechanism: Mechanism): void {
  const failures = countersOf(listener).failures;
  const ending = mechanism == Mechanism.none ? '' : `.${MECHANISMS[mechanism]}`;
  const name = `${prefixOf(listener)}.failure.${nameOf(failure)}${ending}`;
  if (!failures.has(name)) failures.set(name, defineCounter(name));
  increment(failures.get(name));
}

/** Not before they are needed: most of many listeners are hardly used. */
function countersOf(listener: Listener): Counters {
  const known = listener.counters;
  if (known != null) return known;
  const counters = new Counters();
  listener.counters = counters;
  return counters;
}

/** `postern.<protocol>.<opaque>`: the listener's id, with a full stop for its colon. */
function prefixOf(listener: Listener): string {
  return `postern.${listener.id.toString().replace(':', '.')}`;
}

let pages: i32 = 0;
let memoryGauge: i64 = -1;

/** The VM's linear memory, which grows with the connections in their logins and never shrinks. */
export function tellMemory(vmNumber: u32): void {
  const now = memory.size();
  if (now == pages) return;
  pages = now;
  if (memoryGauge < 0) memoryGauge = defineGauge(`postern.vm.${vmNumber}.memory_bytes`);
  record(memoryGauge, (<u64>now) << 16);
}
