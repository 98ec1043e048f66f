/** Octets of a command line. Postfix takes 2,048 (line_length_limit); IMAP clients list hundreds of UIDs in one line. */
export const COMMAND_LINE = { smtp: 2048, imap: 65_536, pop3: 255 } as const;
/** RFC 4954 section 4: the AUTH command with its initial response stays within RFC 5321's 512 octets, CRLF included. */
export const AUTH_COMMAND_LINE = 512;
/** RFC 4954 section 4: 12,288 octets are enough for any challenge or response. */
export const SASL_LINE = 12_288;
/** RFC 5322 says 998 octets; some senders write a whole HTML part in one line. */
export const MESSAGE_LINE = 65_536;
/** Octets of a message: everything is kept in memory. */
export const MESSAGE_SIZE = 10 * 1024 * 1024;
/** Messages of one mailbox: everything is kept in memory. */
export const MESSAGES = 1000;
/** RFC 5321 section 4.5.3.1.8: at least 100. */
export const RECIPIENTS = 100;
/** Octets of an IMAP literal outside APPEND: names, passwords, search words. */
export const LITERAL = 8192;
/** Literals in one IMAP command, and lists in one another: no client needs more, and recursion must end. */
export const LITERALS = 32;
export const NESTING = 8;
/** Words of one SEARCH, for NOT NOT NOT ... is recursion too. */
export const SEARCH_KEYS = 256;
/** Characters of a From or To field that ENVELOPE looks at: some 300 addresses. */
export const ADDRESSES = 16_384;
/** Flags of one message, so that STORE can't fill the memory. */
export const FLAGS = 32;
/** Milliseconds without a byte: the longest of the three protocols (RFC 9051 section 5.4). */
export const IDLE = 30 * 60 * 1000;
/** Milliseconds that a closing connection is still read, so that its last reply is not lost to a reset. */
export const LINGER = 1000;
