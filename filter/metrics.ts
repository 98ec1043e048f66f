// In Envoy's stats: the counters wasmcustom.postern.<protocol>.login and wasmcustom.postern.<protocol>.failure.<code>,
// and the gauge wasmcustom.postern.vm.<number>.memory_bytes of each VM (one per worker thread).
import { defineCounter, defineGauge, increment, record } from './host/host';
import { Listener } from './listener';
import { Bytes } from './protocol/bytes';
import { Failure, nameOf } from './protocol/failure';

/** Defined at first use: a counter costs Envoy memory on every worker. */
const counters: Map<string, i64> = new Map<string, i64>();

export function countLogin(listener: Listener): void {
  if (listener.logins < 0) listener.logins = counter(`postern.${listener.protocol.toString()}.login`);
  increment(listener.logins);
}

export function countFailure(protocol: Bytes, failure: Failure): void {
  count(`postern.${protocol.toString()}.failure.${nameOf(failure)}`);
}

function count(name: string): void {
  increment(counter(name));
}

function counter(name: string): i64 {
  if (!counters.has(name)) counters.set(name, defineCounter(name));
  return counters.get(name);
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
