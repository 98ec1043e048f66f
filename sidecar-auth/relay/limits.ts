/** Every limit of the relay, with its reason. */

/**
 * Octets of a PROXY header after its 16 fixed ones. The largest that Envoy writes for us is 216 (UNIX addresses)
 * + 3 + 64 (route id); a kilobyte leaves room for TLVs that someone else adds.
 */
export const PROXY_HEADER_LIMIT = 1024;

/** Envoy writes the header as soon as it is connected; nothing else may hold a connection without a route. */
export const PROXY_HEADER_MS = 10_000;

/** How long an app's bytes are read and dropped after an error line: a close with bytes unread would be a reset. */
export const LINGER_MS = 5_000;

/** The location id's length is one octet, and counts its base64 form (SAP, "Using the TCP Protocol"). */
export const LOCATION_BASE64_LIMIT = 255;

/** A domain name's length in a SOCKS5 request is one octet (RFC 1928 section 5). */
export const HOST_LIMIT = 255;

/** IDLE connections are silent for up to half an hour: finds dead peers long before that, at a few packets an hour. */
export const KEEP_ALIVE_MS = 120_000;

/** RFC 8305 section 5 ("Connection Attempt Delay"): 250 ms. */
export const ATTEMPT_DELAY_MS = 250;

/** Octets of a line of the server before STARTTLS; Dovecot's own limit for its clients, and the filter's, is 8,192. */
export const SERVER_LINE_LIMIT = 8192;

/** Lines of the server before STARTTLS, of up to three answers; Dovecot's submission proxy takes 128 of one. */
export const SERVER_LINES_LIMIT = 256;

/** Octets of a greeting that is read before there is an app to hear it: servers say some lines, and one that says more is dialled as usual. */
export const GREETING_LIMIT = 8192;

/** Connections that stand ready, being opened, or could not be: each is a descriptor here, with TLS some 50 KiB, and a login slot at a server. */
export const SPARES_LIMIT = 100;

/** How long one stands ready: servers end connections that do not log in after 30 s to 5 minutes, and many count them until then. */
export const SPARE_MS = 20_000;

/** How long none is opened for a route where the last could not be: the server is down, or has as many as it wants from here. */
export const SPARE_PAUSE_MS = 10_000;

/** How often those are looked for that are too old or whose route is gone: that is how long they may outlive it. */
export const SPARE_CHECK_MS = 1_000;

/** TLS sessions kept to be resumed, one a server; at about 3 KiB each (certificate and ticket) that is 3 MiB. */
export const TLS_SESSIONS_LIMIT = 1000;

/** How long a session is resumed: so long may a server go on whose certificate was revoked or whose CA is no longer trusted. */
export const TLS_SESSION_MS = 60 * 60 * 1000;

/** Names whose addresses are kept: as many as there are destinations in a large landscape, at about 200 octets each. */
export const NAMES_LIMIT = 1000;
