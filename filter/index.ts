// What Envoy calls: proxy-wasm ABI 0.2.1, network filter.
import { Action, Buffer, enter, Level, leave, log, readBuffer, seedVmNumber } from './host/host';
import { vm } from './vm';

export { malloc } from './host/memory';

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_vm_start(root: u32, length: i32): u32 {
  seedVmNumber();
  return 1;
}

export function proxy_on_configure(root: u32, length: i32): u32 {
  const before = enter(root);
  const listener = vm.listener(root);
  const good = listener != null && listener.configure(readBuffer(Buffer.configuration, length));
  if (!good) log(Level.error, 'postern: the configuration must be a listener id, <protocol>:<opaque>');
  leave(before);
  return good ? 1 : 0;
}

export function proxy_on_context_create(context: u32, root: u32): void {
  const before = enter(context);
  if (root == 0) vm.addListener(context);
  else vm.addConnection(context, root);
  leave(before);
}

export function proxy_on_new_connection(context: u32): u32 {
  const before = enter(context);
  const connection = vm.connection(context);
  const action = connection != null ? connection.onNewConnection() : Action.pause;
  leave(before);
  return action;
}

export function proxy_on_downstream_data(context: u32, length: i32, end: u32): u32 {
  const connection = vm.connection(context);
  if (connection == null) return Action.pause;
  if (connection.finished) return Action.go;
  const before = enter(context);
  const action = connection.onAppData(length, end != 0);
  leave(before);
  return action;
}

export function proxy_on_upstream_data(context: u32, length: i32, end: u32): u32 {
  const connection = vm.connection(context);
  if (connection == null || connection.finished) return Action.go;
  const before = enter(context);
  connection.onServerData(length, end != 0);
  leave(before);
  return Action.go;
}

export function proxy_on_downstream_connection_close(context: u32, peer: u32): void {}

export function proxy_on_upstream_connection_close(context: u32, peer: u32): void {}

export function proxy_on_http_call_response(root: u32, token: u32, headers: u32, length: i32, trailers: u32): void {
  const before = enter(root);
  vm.onCallResponse(token, length);
  leave(before);
}

export function proxy_on_queue_ready(root: u32, token: u32): void {
  const before = enter(root);
  vm.onQueueReady(token);
  leave(before);
}

export function proxy_on_tick(root: u32): void {
  const before = enter(root);
  vm.onTick();
  leave(before);
}

export function proxy_on_done(context: u32): u32 {
  return 1;
}

export function proxy_on_log(context: u32): void {}

export function proxy_on_delete(context: u32): void {
  const before = enter(context);
  vm.remove(context);
  leave(before);
}
