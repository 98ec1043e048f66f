/** The filter's times, with their reasons. Milliseconds. */

/**
 * sidecar-auth may have to ask the Destination service's token service, the Destination service, and for a silent app a token service, one after
 * the other, of which each has up to 15 s; a cold start with slow answers must still work. No longer than a login's deadline is by default.
 */
export const SESSION_CALL: i32 = 30000;

/** The long poll is answered after 50 s at the latest (docs/contract.md). */
export const CHANGES_CALL: i32 = 60000;

/** Never two polls within this time, whatever sidecar-auth answers. */
export const POLL_LEAST: i32 = 20;

/** Between polls that bring fail: from the first to the last. */
export const POLL_WAIT_FIRST: i32 = 100;
export const POLL_WAIT_LAST: i32 = 5000;

/** A new token: sidecar-auth gives a token service or the Destination service up to 15 s, and may ask twice. The login's deadline is shorter where that is due. */
export const TOKEN_CALL: i32 = 30000;

/** After an error is said and QUIT sent, the server has this long to close; then the filter does. */
export const FAREWELL: i32 = 2000;

/** Deadlines are looked at this often while a login is under way. */
export const TICK: i32 = 250;

/** While a destination with two addresses is being connected, or deadlines are left over: how soon the next look must be. */
export const TICK_SOON: i32 = 10;

/**
 * Connections whose deadline is served in one tick. Envoy carries out their closes one inside the other after the callback, and
 * thousands of them use up its stack, which ends the process (seen with 3,500).
 */
export const CLOSED_AT_ONCE: i32 = 100;

/**
 * Bytes of apps and servers that all connections of one VM may hold before their logins. Envoy gives a VM 1 GiB, and a VM that wants more
 * traps; what is held stands there several times over, as copies that are not collected yet and as room that AssemblyScript's memory,
 * which doubles, has not used.
 */
export const HELD_BY_VM: i32 = 16 << 20;

/** What a connection may hold however much the others do: whoever holds much is turned away then, not whoever comes next. */
export const HELD_BY_RIGHT: i32 = 4096;

/**
 * Garbage, in octets and by estimate, between two collections: at least this, which a processor's cache holds, and at least a quarter of the VM's memory, so that the cost of
 * a collection, which looks at all that lives, stays a small part of the work that made the garbage.
 */
export const GARBAGE: u32 = 256 << 10;

/** The estimate: what a callback leaves behind, and each octet that it reads. Measured: 0.5 to 2 KiB, and 3 to 6 copies of a long line. */
export const GARBAGE_OF_CALLBACK: u32 = 1024;
export const GARBAGE_OF_OCTET: u32 = 6;
