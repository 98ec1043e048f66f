// The proxy-wasm ABI 0.2.1, as far as a network filter needs it. Every call returns a status, and every
// out-pointer is zeroed first: where there is nothing to return the host writes none.
import {
  proxy_call_foreign_function,
  proxy_close_stream,
  proxy_continue_stream,
  proxy_define_metric,
  proxy_dequeue_shared_queue,
  proxy_enqueue_shared_queue,
  proxy_get_buffer_bytes,
  proxy_get_current_time_nanoseconds,
  proxy_get_header_map_value,
  proxy_get_property,
  proxy_get_shared_data,
  proxy_http_call,
  proxy_increment_metric,
  proxy_log,
  proxy_record_metric,
  proxy_register_shared_queue,
  proxy_set_buffer_bytes,
  proxy_set_effective_context,
  proxy_set_property,
  proxy_set_shared_data,
  proxy_set_tick_period_milliseconds,
} from '@gcoredev/proxy-wasm-sdk-as/assembly/imports';
import { Bytes } from '../protocol/bytes';
import { collectWhenDue, leftBehind, release } from './memory';

const OK: u32 = 0;
const CAS_MISMATCH: u32 = 8;

export enum Action {
  go,
  pause,
}

export enum Buffer {
  downstream = 2,
  upstream = 3,
  callResponse = 4,
  configuration = 7,
}

export enum Level {
  info = 2,
  warn = 3,
  error = 4,
}

const DOWNSTREAM: i32 = 2;
const COUNTER: i32 = 0;
const GAUGE: i32 = 1;
const CALL_RESPONSE_HEADERS: i32 = 6;

/** Where the host leaves an address, a length and numbers; single-threaded, and read right after each call. */
const outAddress: usize = memory.data(sizeof<usize>());
const outLength: usize = memory.data(sizeof<usize>());
const outNumber: usize = memory.data(sizeof<u64>(), 8);

/** The context that calls act on: the callback's own, until `actOn` changes it. */
let acting: u32 = 0;

/** Callbacks that run, one inside the other. */
let depth: i32 = 0;

/** At the start of a callback, which the host can nest into another; what it returns belongs into `leave`. */
export function enter(context: u32): u32 {
  const before = acting;
  acting = context;
  depth += 1;
  return before;
}

/** At the very end of a callback: objects that nothing but its variables hold may be gone afterwards. */
export function leave(before: u32): void {
  acting = before;
  depth -= 1;
  if (depth == 0) collectWhenDue();
}

/** The context acted on before. */
export function actOn(context: u32): u32 {
  const before = acting;
  if (before == context) return before;
  acting = context;
  proxy_set_effective_context(context);
  return before;
}

export function log(level: Level, text: string): void {
  const line = Bytes.of(text);
  proxy_log(level, line.address, line.length);
}

/** Nanoseconds since 1970. */
export function now(): u64 {
  store<u64>(outNumber, 0);
  proxy_get_current_time_nanoseconds(outNumber);
  return load<u64>(outNumber);
}

export function readBuffer(buffer: Buffer, length: i32): Bytes {
  clearOut();
  const status = proxy_get_buffer_bytes(buffer, 0, length, outAddress, outLength);
  return taken(status);
}

/** Puts `bytes` in place of the `length` bytes that stand in the buffer. False: there is no such buffer now. */
export function replaceBuffer(buffer: Buffer, length: i32, bytes: Bytes): bool {
  return proxy_set_buffer_bytes(buffer, 0, length, bytes.address, bytes.length) == OK;
}

/** Lets the connection go on: it connects, or what stands in its downstream buffer goes to the server. */
export function continueDownstream(): void {
  proxy_continue_stream(DOWNSTREAM);
}

export function closeDownstream(): void {
  proxy_close_stream(DOWNSTREAM);
}

/** `path` with its parts ended by NUL; empty where there is no such property. */
export function property(path: Bytes): Bytes {
  clearOut();
  return taken(proxy_get_property(path.address, path.length, outAddress, outLength));
}

export function setProperty(path: Bytes, value: Bytes): bool {
  return proxy_set_property(path.address, path.length, value.address, value.length) == OK;
}

const SET_FILTER_STATE: Bytes = Bytes.of('set_envoy_filter_state');

/** Envoy's foreign function; `message` is its argument (filter-state.ts). */
export function setFilterState(message: Bytes): bool {
  clearOut();
  const status = proxy_call_foreign_function(
    SET_FILTER_STATE.address,
    SET_FILTER_STATE.length,
    message.address,
    message.length,
    outAddress,
    outLength,
  );
  release(load<usize>(outAddress));
  return status == OK;
}

/** An HTTP request to a cluster; the token that comes with the answer, or -1. */
export function httpCall(cluster: string, method: string, path: string, body: Bytes, timeoutMs: i32): i64 {
  const upstream = Bytes.of(cluster);
  const headers = headerPairs([':method', method, ':path', path, ':authority', 'sidecar-auth']);
  const trailers = headerPairs([]);
  store<u64>(outNumber, 0);
  const status = proxy_http_call(
    upstream.address,
    upstream.length,
    headers.address,
    headers.length,
    body.address,
    body.length,
    trailers.address,
    trailers.length,
    timeoutMs,
    outNumber,
  );
  return status == OK ? <i64>load<u32>(outNumber) : -1;
}

/** The ABI's form of a header map: count, the lengths, then each text ended by NUL. */
function headerPairs(texts: string[]): Bytes {
  const pairs = new Bytes();
  pushU32(pairs, texts.length / 2);
  for (let i = 0; i < texts.length; i++) pushU32(pairs, texts[i].length);
  for (let i = 0; i < texts.length; i++) pairs.text(texts[i]).push(0);
  return pairs;
}

function pushU32(bytes: Bytes, value: i32): void {
  bytes
    .push(value & 0xff)
    .push((value >> 8) & 0xff)
    .push((value >> 16) & 0xff)
    .push((value >> 24) & 0xff);
}

/** Whether the HTTP answer at hand is a 200. Envoy answers in the place of a cluster that is down: 503, or 504 after the time limit. */
export function callSucceeded(): bool {
  const name = Bytes.of(':status');
  clearOut();
  return taken(
    proxy_get_header_map_value(CALL_RESPONSE_HEADERS, name.address, name.length, outAddress, outLength),
  ).equals('200');
}

const VM_NUMBER = 'vm';

/** Before any worker runs, for a compare-and-swap on a key that is not there compares nothing: two workers would get one number. */
export function seedVmNumber(): void {
  const key = Bytes.of(VM_NUMBER);
  clearOut();
  store<u64>(outNumber, 0);
  const found = taken(proxy_get_shared_data(key.address, key.length, outAddress, outLength, outNumber));
  if (found.length > 0) return;
  const zero = new Bytes();
  pushU32(zero, 0);
  proxy_set_shared_data(key.address, key.length, zero.address, zero.length, 0);
}

/** A number that no other VM of this vm_id has. */
export function vmNumber(): u32 {
  const key = Bytes.of(VM_NUMBER);
  for (let tries = 0; tries < 1000; tries++) {
    clearOut();
    store<u64>(outNumber, 0);
    const found = taken(proxy_get_shared_data(key.address, key.length, outAddress, outLength, outNumber));
    const cas = load<u32>(outNumber);
    const next = new Bytes();
    pushU32(next, u32Of(found) + 1);
    if (proxy_set_shared_data(key.address, key.length, next.address, next.length, cas) != CAS_MISMATCH) {
      return u32Of(next);
    }
  }
  return 0;
}

function u32Of(bytes: Bytes): u32 {
  let value: u32 = 0;
  for (let i = 3; i >= 0; i--) value = (value << 8) | (bytes.at(i) < 0 ? 0 : <u32>bytes.at(i));
  return value;
}

/** A queue whose arrivals are told to the acting root context; its token, or -1. */
export function registerQueue(name: Bytes): i64 {
  store<u64>(outNumber, 0);
  const status = proxy_register_shared_queue(name.address, name.length, outNumber);
  return status == OK ? <i64>load<u32>(outNumber) : -1;
}

const ITEM: Bytes = Bytes.of('.');

export function enqueue(token: u32): bool {
  return proxy_enqueue_shared_queue(token, ITEM.address, ITEM.length) == OK;
}

export function dequeue(token: u32): void {
  clearOut();
  taken(proxy_dequeue_shared_queue(token, outAddress, outLength));
}

/** Of the acting context's root; 0 stops it. */
export function setTick(milliseconds: i32): void {
  proxy_set_tick_period_milliseconds(milliseconds);
}

/** A counter, or -1 where it can't be had. */
export function defineCounter(name: string): i64 {
  return defineMetric(COUNTER, name);
}

export function defineGauge(name: string): i64 {
  return defineMetric(GAUGE, name);
}

function defineMetric(type: i32, name: string): i64 {
  const text = Bytes.of(name);
  store<u64>(outNumber, 0);
  const status = proxy_define_metric(type, text.address, text.length, outNumber);
  return status == OK ? <i64>load<u32>(outNumber) : -1;
}

export function increment(counter: i64): void {
  if (counter >= 0) proxy_increment_metric(<u32>counter, 1);
}

export function record(gauge: i64, value: u64): void {
  if (gauge >= 0) proxy_record_metric(<u32>gauge, value);
}

function clearOut(): void {
  store<usize>(outAddress, 0);
  store<usize>(outLength, 0);
}

/** What the host returned, copied; its memory is given back. */
function taken(status: u32): Bytes {
  const bytes = new Bytes();
  const address = load<usize>(outAddress);
  if (status == OK && address != 0) bytes.appendMemory(address, <i32>load<usize>(outLength));
  leftBehind(bytes.length);
  release(address);
  return bytes;
}
