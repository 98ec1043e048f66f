// Counters in Envoy's stats: wasmcustom.postern.<protocol>.login and wasmcustom.postern.<protocol>.failure.<code>.
import { defineCounter, increment } from './host/host';
import { Bytes } from './protocol/bytes';
import { Failure, nameOf } from './protocol/failure';

/** Defined at first use: a counter costs Envoy memory on every worker. */
const counters: Map<string, i64> = new Map<string, i64>();

export function countLogin(protocol: Bytes): void {
  count(`postern.${protocol.toString()}.login`);
}

export function countFailure(protocol: Bytes, failure: Failure): void {
  count(`postern.${protocol.toString()}.failure.${nameOf(failure)}`);
}

function count(name: string): void {
  if (!counters.has(name)) counters.set(name, defineCounter(name));
  increment(counters.get(name));
}
