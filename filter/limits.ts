/** The filter's times, with their reasons. Milliseconds. */

/** sidecar-auth resolves names within 5 s and answers; a longer wait would look like a hanging server to the app. */
export const SESSION_CALL: i32 = 8000;

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

/** While a destination with two addresses is being connected: how soon the second one's turn must be seen. */
export const TICK_CONNECTING: i32 = 10;

/** Bytes of apps and servers that all connections of one VM may hold before their logins, so that they can't fill its memory. */
export const HELD_BY_VM: i32 = 64 << 20;

/** What a connection may hold however much the others do: whoever holds much is turned away then, not whoever comes next. */
export const HELD_BY_RIGHT: i32 = 4096;
