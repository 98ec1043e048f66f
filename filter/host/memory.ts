import { GARBAGE, GARBAGE_OF_CALLBACK, GARBAGE_OF_OCTET } from '../limits';

/** The host writes what it returns into memory that it asks for here; the reader gives it back by `release`. */
export function malloc(size: i32): usize {
  return heap.alloc(size);
}

export function release(address: usize): void {
  if (address != 0) heap.free(address);
}

/** Octets since the last collection, by estimate. */
let garbage: u32 = 0;

/** So many octets were read: what is made of them is garbage soon. */
export function leftBehind(octets: i32): void {
  garbage += <u32>octets * GARBAGE_OF_OCTET;
}

/**
 * Collects, once enough garbage may be there. Only where no callback runs: AssemblyScript's runtime `minimal` does not know what the variables of
 * functions hold. In exchange nothing but this costs anything: `incremental` took a third of the filter's time.
 */
export function collectWhenDue(): void {
  garbage += GARBAGE_OF_CALLBACK;
  const quarter = (<u32>memory.size()) << 14;
  if (garbage < (quarter > GARBAGE ? quarter : GARBAGE)) return;
  garbage = 0;
  __collect();
}
