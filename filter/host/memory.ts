/** The host writes what it returns into memory that it asks for here; the reader gives it back by `release`. */
export function malloc(size: i32): usize {
  return heap.alloc(size);
}

export function release(address: usize): void {
  if (address != 0) heap.free(address);
}
