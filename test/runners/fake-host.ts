import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = process.env.FILTER_WASM ?? join(import.meta.dirname, '..', '..', 'build', 'filter.wasm');
const module = new WebAssembly.Module(readFileSync(FILE));

const OK = 0;
const NOT_FOUND = 1;
const CAS_MISMATCH = 8;
const DOWNSTREAM = 2;
const UPSTREAM = 3;
const CALL_BODY = 4;
const CONFIGURATION = 7;

interface Exports {
  memory: WebAssembly.Memory;
  malloc(size: number): number;
  _start(): void;
  proxy_on_vm_start(root: number, length: number): number;
  proxy_on_configure(root: number, length: number): number;
  proxy_on_context_create(context: number, root: number): void;
  proxy_on_new_connection(context: number): number;
  proxy_on_downstream_data(context: number, length: number, end: number): number;
  proxy_on_upstream_data(context: number, length: number, end: number): number;
  proxy_on_http_call_response(root: number, token: number, headers: number, length: number, trailers: number): void;
  proxy_on_queue_ready(root: number, token: number): void;
  proxy_on_tick(root: number): void;
  proxy_on_done(context: number): number;
  proxy_on_delete(context: number): void;
}

export interface Call {
  token: number;
  root: number;
  method: string;
  path: string;
  body: string;
}

/** What Envoy keeps for one connection. */
export class FakeConnection {
  readonly id: number;
  readonly root: number;
  /** Envoy's read buffer: what the app sent and no filter drained. */
  readBuffer = Buffer.alloc(0);
  /** After a paused callback the filter may still write into the read buffer; after one that went on it may not. */
  readable = false;
  appEnded = false;
  /** The app's end of stream went to the server. */
  endPassed = false;
  /** The filter let tcp_proxy connect. */
  connecting = false;
  /** The server's greeting has passed the filter. */
  greeted = false;
  closed = false;
  toServer = '';
  toApp = '';
  readonly filterState = new Map<string, string>();
  readonly properties = new Map<string, string>();

  constructor(id: number, root: number) {
    this.id = id;
    this.root = root;
  }
}

/**
 * One VM of the compiled filter, with a host that keeps Envoy's rules for network filters (what is readable and writable in which
 * callback, what a pause means, who gets an answer), and throws where the filter breaks one.
 */
export class FakeHost {
  readonly calls: Call[] = [];
  /** The paths of all calls so far. */
  readonly called: string[] = [];
  readonly connections = new Map<number, FakeConnection>();
  readonly counters = new Map<string, number>();
  readonly log: string[] = [];
  /** Milliseconds. */
  clock = 1_000_000;
  tick = { root: 0, period: 0, due: 0 };
  /** Items enqueued and not yet told. */
  queued = 0;
  queueRoot = 0;
  callsFail = false;
  private readonly exports: Exports;
  private readonly counterNames: string[] = [];
  private readonly shared = new Map<string, { value: Buffer; cas: number }>();
  private nextId = 1;
  private nextToken = 1;
  private current = 0;
  private upstreamBuffer: Buffer | undefined;
  private callStatus = '';
  private callBody = Buffer.alloc(0);
  private configuration = Buffer.alloc(0);

  constructor() {
    const env = this.imports();
    const wasi = { fd_write: () => 0, random_get: () => 0, proc_exit: this.trap };
    this.exports = new WebAssembly.Instance(module, { env, wasi_snapshot_preview1: wasi })
      .exports as unknown as Exports;
    this.exports._start();
  }

  /** The counters, whatever the listener and the mechanism: `postern.smtp.login`, `postern.smtp.failure.rejected`. */
  get counted(): Map<string, number> {
    const sums = new Map<string, number>();
    for (const [name, count] of this.counters) {
      const [, protocol, , what, code] = name.split('.');
      const short = ['postern', protocol, what, ...(what === 'failure' ? [code] : [])].join('.');
      sums.set(short, (sums.get(short) ?? 0) + count);
    }
    return sums;
  }

  get memoryBytes(): number {
    return this.exports.memory.buffer.byteLength;
  }

  // What Envoy does.

  /** A listener with this id; its root context, or 0 where the filter refuses the configuration. */
  listener(id: string): number {
    const root = this.nextId++;
    this.configuration = Buffer.from(id);
    this.as(root, () => this.exports.proxy_on_context_create(root, 0));
    this.as(root, () => this.exports.proxy_on_vm_start(root, 0));
    return this.as(root, () => this.exports.proxy_on_configure(root, id.length)) ? root : 0;
  }

  deleteListener(root: number): void {
    this.as(root, () => this.exports.proxy_on_done(root));
    this.as(root, () => this.exports.proxy_on_delete(root));
    if (this.tick.root === root) this.tick.period = 0;
    if (this.queueRoot === root) this.queueRoot = 0;
  }

  connect(root: number): FakeConnection {
    const connection = new FakeConnection(this.nextId++, root);
    this.connections.set(connection.id, connection);
    this.as(connection.id, () => this.exports.proxy_on_context_create(connection.id, root));
    const action = this.as(connection.id, () => this.exports.proxy_on_new_connection(connection.id));
    if (action === 0) connection.connecting = true;
    return connection;
  }

  disconnect(connection: FakeConnection): void {
    this.as(connection.id, () => this.exports.proxy_on_done(connection.id));
    this.as(connection.id, () => this.exports.proxy_on_delete(connection.id));
    this.connections.delete(connection.id);
  }

  appSays(connection: FakeConnection, bytes: Buffer, end = false): void {
    if (connection.closed) return;
    connection.readBuffer = Buffer.concat([connection.readBuffer, bytes]);
    connection.appEnded ||= end;
    connection.readable = true;
    const length = connection.readBuffer.length;
    const action = this.as(connection.id, () =>
      this.exports.proxy_on_downstream_data(connection.id, length, end ? 1 : 0),
    );
    if (action !== 0) return;
    this.passOn(connection);
    connection.readable = false;
  }

  serverSays(connection: FakeConnection, bytes: Buffer, end = false): void {
    if (connection.closed) return;
    this.upstreamBuffer = bytes;
    const action = this.as(connection.id, () =>
      this.exports.proxy_on_upstream_data(connection.id, bytes.length, end ? 1 : 0),
    );
    if (action !== 0) throw new Error('the server side must never be paused: its bytes would stay in Envoy');
    connection.toApp += this.upstreamBuffer.toString('latin1');
    connection.greeted = true;
    this.upstreamBuffer = undefined;
  }

  /** Answers a call of the filter; an empty status is Envoy's own failure. */
  answer(call: Call, body: string, status = '200'): void {
    this.calls.splice(this.calls.indexOf(call), 1);
    this.callStatus = status;
    this.callBody = Buffer.from(body, 'latin1');
    this.as(call.root, () =>
      this.exports.proxy_on_http_call_response(call.root, call.token, status === '' ? 0 : 1, body.length, 0),
    );
    this.callStatus = '';
    this.callBody = Buffer.alloc(0);
  }

  /** The calls to this path that wait for an answer. */
  callsTo(path: string): Call[] {
    return this.calls.filter((call) => call.path.startsWith(path));
  }

  runQueue(): void {
    for (; this.queued > 0; this.queued--) {
      const root = this.queueRoot;
      if (root !== 0) this.as(root, () => this.exports.proxy_on_queue_ready(root, 1));
    }
  }

  /** Time passes; the tick comes as often as it was asked for. */
  advance(milliseconds: number): void {
    const end = this.clock + milliseconds;
    while (this.tick.period > 0 && this.tick.due <= end) {
      this.clock = this.tick.due;
      this.tick.due += this.tick.period;
      this.as(this.tick.root, () => this.exports.proxy_on_tick(this.tick.root));
    }
    this.clock = end;
  }

  // What the filter asks.

  private imports(): Record<string, (...numbers: number[]) => number> {
    return {
      proxy_log: (level = 0, address = 0, length = 0) => {
        this.log.push(`${level} ${this.text(address, length)}`);
        return OK;
      },
      proxy_set_effective_context: (context = 0) => {
        this.current = context;
        return OK;
      },
      proxy_get_current_time_nanoseconds: (out = 0) => {
        this.view().setBigUint64(out, BigInt(this.clock) * 1_000_000n, true);
        return OK;
      },
      proxy_set_tick_period_milliseconds: (period = 0) => {
        this.tick = { root: this.rootOf(this.current), period, due: this.clock + period };
        return OK;
      },
      proxy_get_buffer_bytes: (type = 0, start = 0, length = 0, address = 0, size = 0) => {
        const buffer = this.buffer(type);
        return buffer ? this.give(buffer.subarray(start, start + (length >>> 0)), address, size) : NOT_FOUND;
      },
      proxy_set_buffer_bytes: (type = 0, start = 0, length = 0, address = 0, size = 0) =>
        this.setBuffer(type, start, length, this.bytes(address, size)),
      proxy_continue_stream: (stream = 0) => this.continueStream(stream),
      proxy_close_stream: (stream = 0) => {
        if (stream !== DOWNSTREAM) throw new Error('only the downstream can be closed');
        this.connection().closed = true;
        return OK;
      },
      proxy_get_property: (address = 0, length = 0, out = 0, size = 0) => {
        const value = this.connections.get(this.current)?.properties.get(this.text(address, length));
        return value === undefined ? NOT_FOUND : this.give(Buffer.from(value, 'latin1'), out, size);
      },
      proxy_set_property: (address = 0, length = 0, value = 0, size = 0) => {
        this.connection().filterState.set(`wasm.${this.text(address, length)}`, this.text(value, size));
        return OK;
      },
      proxy_call_foreign_function: (name = 0, nameLength = 0, address = 0, length = 0) => {
        if (this.text(name, nameLength) !== 'set_envoy_filter_state') return NOT_FOUND;
        return this.setFilterState(this.bytes(address, length));
      },
      proxy_http_call: (...numbers: number[]) => this.httpCall(numbers),
      proxy_get_header_map_value: (type = 0, address = 0, length = 0, out = 0, size = 0) => {
        if (type !== 6 || this.text(address, length) !== ':status' || this.callStatus === '') return NOT_FOUND;
        return this.give(Buffer.from(this.callStatus), out, size);
      },
      proxy_get_shared_data: (address = 0, length = 0, out = 0, size = 0, cas = 0) => {
        const entry = this.shared.get(this.text(address, length));
        if (!entry) return NOT_FOUND;
        this.view().setUint32(cas, entry.cas, true);
        return this.give(entry.value, out, size);
      },
      proxy_set_shared_data: (address = 0, length = 0, value = 0, size = 0, cas = 0) => {
        const key = this.text(address, length);
        // Envoy compares nothing then, and the workers' VMs start at the same time.
        if (cas === 0 && this.connections.has(this.current)) throw new Error('a swap with 0, while other workers run');
        const old = this.shared.get(key)?.cas ?? 0;
        if (cas !== 0 && cas !== old) return CAS_MISMATCH;
        this.shared.set(key, { value: this.bytes(value, size), cas: old + 1 });
        return OK;
      },
      proxy_register_shared_queue: (_address = 0, _length = 0, out = 0) => {
        this.queueRoot = this.rootOf(this.current);
        this.view().setUint32(out, 1, true);
        return OK;
      },
      proxy_enqueue_shared_queue: () => {
        this.queued += 1;
        return OK;
      },
      proxy_dequeue_shared_queue: (_token = 0, out = 0, size = 0) => this.give(Buffer.from('.'), out, size),
      proxy_define_metric: (_type = 0, address = 0, length = 0, out = 0) => {
        this.view().setUint32(out, this.counterNames.push(this.text(address, length)) - 1, true);
        return OK;
      },
      proxy_record_metric: () => OK,
      proxy_increment_metric: (id = 0) => {
        const name = this.counterNames[id] ?? '';
        this.counters.set(name, (this.counters.get(name) ?? 0) + 1);
        return OK;
      },
    };
  }

  private setBuffer(type: number, start: number, length: number, bytes: Buffer): number {
    if (type === UPSTREAM) {
      if (!this.upstreamBuffer || start !== 0 || length < this.upstreamBuffer.length) return NOT_FOUND;
      this.upstreamBuffer = bytes;
      return OK;
    }
    const connection = this.connection();
    if (type !== DOWNSTREAM || start !== 0) throw new Error(`buffer ${type} written at ${start}`);
    if (!connection.readable) return NOT_FOUND;
    const rest = connection.readBuffer.subarray(length === 0 ? 0 : Math.min(length, connection.readBuffer.length));
    connection.readBuffer = Buffer.concat([bytes, rest]);
    return OK;
  }

  private continueStream(stream: number): number {
    if (stream !== DOWNSTREAM) throw new Error('proxy_continue_stream(Upstream) is not implemented');
    const connection = this.connection();
    if (!connection.connecting) {
      // tcp_proxy gets what stands in the read buffer as soon as it may.
      connection.connecting = true;
      if (connection.readBuffer.length > 0)
        throw new Error('bytes of the app before its login, on the way to the server');
      return OK;
    }
    this.passOn(connection);
    return OK;
  }

  private passOn(connection: FakeConnection): void {
    if (connection.readBuffer.length > 0) {
      if (connection.endPassed) throw new Error('a second write after the end of stream');
      connection.toServer += connection.readBuffer.toString('latin1');
    }
    connection.readBuffer = Buffer.alloc(0);
    connection.endPassed = connection.appEnded;
  }

  private setFilterState(message: Buffer): number {
    const fields: string[] = [];
    for (let at = 0; at < message.length; ) {
      let [length, shift] = [0, 0];
      at += 1;
      for (;;) {
        const byte = message[at++] ?? 0;
        length |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte < 0x80) break;
      }
      fields.push(message.toString('latin1', at, at + length));
      at += length;
    }
    const [key = '', value = ''] = fields;
    if (key.endsWith('original_dst_address') && !/^(\d+(\.\d+){3}|\[[0-9a-f:]+\]):\d+$/.test(value)) return 2;
    this.connection().filterState.set(key, value);
    return OK;
  }

  private httpCall(numbers: number[]): number {
    const [uri = 0, uriLength = 0, headers = 0, headersLength = 0, body = 0, bodyLength = 0] = numbers;
    const root = this.rootOf(this.current);
    if (root !== this.current) throw new Error('a call of a connection would end with it: call as the root');
    if (this.callsFail || this.text(uri, uriLength) !== 'postern-helper') return 2;
    const pairs = this.text(headers, headersLength)
      .slice(4 + 3 * 8)
      .split('\0');
    const token = this.nextToken++;
    this.called.push(pairs[3] ?? '');
    this.calls.push({ token, root, method: pairs[1] ?? '', path: pairs[3] ?? '', body: this.text(body, bodyLength) });
    this.view().setUint32(numbers[9] ?? 0, token, true);
    return OK;
  }

  private buffer(type: number): Buffer | undefined {
    if (type === DOWNSTREAM) return this.connection().readable ? this.connection().readBuffer : undefined;
    if (type === UPSTREAM) return this.upstreamBuffer;
    if (type === CALL_BODY) return this.callBody;
    return type === CONFIGURATION ? this.configuration : undefined;
  }

  private rootOf(context: number): number {
    return this.connections.get(context)?.root ?? context;
  }

  private connection(): FakeConnection {
    const connection = this.connections.get(this.current);
    if (!connection) throw new Error(`context ${this.current} is no connection`);
    return connection;
  }

  private as<T>(context: number, act: () => T): T {
    const before = this.current;
    this.current = context;
    try {
      return act();
    } finally {
      this.current = before;
    }
  }

  private readonly trap = () => {
    throw new Error('the VM trapped');
  };

  private view(): DataView {
    return new DataView(this.exports.memory.buffer);
  }

  private bytes(address: number, length: number): Buffer {
    return Buffer.from(Buffer.from(this.exports.memory.buffer, address, length));
  }

  private text(address: number, length: number): string {
    return this.bytes(address, length).toString('latin1');
  }

  /** Like Envoy: where there is nothing to return, the out-pointers are left as they are. */
  private give(bytes: Buffer, address: number, size: number): number {
    if (bytes.length === 0) return OK;
    const place = this.exports.malloc(bytes.length);
    new Uint8Array(this.exports.memory.buffer, place, bytes.length).set(bytes);
    this.view().setUint32(address, place, true);
    this.view().setUint32(size, bytes.length, true);
    return OK;
  }
}
