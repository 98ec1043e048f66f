// A network filter that only passes: what the callbacks themselves cost. See docs/performance.md.
export { malloc } from '../../filter/host/memory';

export function proxy_abi_version_0_2_1(): void {}
export function proxy_on_vm_start(root: u32, length: i32): u32 {
  return 1;
}
export function proxy_on_configure(root: u32, length: i32): u32 {
  return 1;
}
export function proxy_on_context_create(context: u32, root: u32): void {}
export function proxy_on_new_connection(context: u32): u32 {
  return 0;
}
export function proxy_on_downstream_data(context: u32, length: i32, end: u32): u32 {
  return 0;
}
export function proxy_on_upstream_data(context: u32, length: i32, end: u32): u32 {
  return 0;
}
export function proxy_on_downstream_connection_close(context: u32, peer: u32): void {}
export function proxy_on_upstream_connection_close(context: u32, peer: u32): void {}
export function proxy_on_done(context: u32): u32 {
  return 1;
}
export function proxy_on_log(context: u32): void {}
export function proxy_on_delete(context: u32): void {}
