/** Every limit of the protocol machines, with its reason. Octets unless said otherwise. */

/** A line of the app before login. An IMAP ID may have 32 KiB (RFC 2971: 30 fields of 1,024), a token 16 KiB in base64. */
export const APP_LINE: i32 = 40960;

/** All that an app may send before its login is complete: a pipelined mail transaction, not a mailbox. */
export const APP_HELD: i32 = 262144;

/** Commands of an app that are answered before login (NOOP, CAPABILITY, unknown ones): no client needs more, a guesser does. */
export const APP_COMMANDS: i32 = 64;

/** Failed logins of an app on one connection, where the listener demands one. smtplib tries three mechanisms. */
export const APP_LOGINS: i32 = 3;

/** A user name or password in an app's login, decoded: some apps put a token of 16 KiB there. */
export const APP_SECRET: i32 = 16384;

/** The user and the token that an app presents for an exchange (docs/contract.md): tokens of 16 KiB exist (Entra ID with many groups). */
export const BEARER_USER: i32 = 1024;
export const BEARER_TOKEN: i32 = 16384;

/** A whole XOAUTH2 or OAUTHBEARER response, decoded: user, token, and 3 KiB for host, port and whatever else RFC 7628 allows. */
export const BEARER_RESPONSE: i32 = 20480;

/** A line of the server before login; Dovecot's own limit for its clients is 8,192. */
export const SERVER_LINE: i32 = 8192;

/** Lines of one answer of the server before login; Dovecot's submission proxy takes 128. */
export const SERVER_LINES: i32 = 128;

/** An answer of the server before login, in all; the largest that are known (EHLO, CAPABILITY, ID) have a few KiB. */
export const SERVER_ANSWER: i32 = 65536;

/** A command with an initial response: RFC 5321 4.5.3.1.4 and RFC 4954 section 4 (with CRLF). Used for IMAP too. */
export const COMMAND_LINE: i32 = 512;

/** RFC 2449 section 4: 255 with CRLF. */
export const POP3_COMMAND_LINE: i32 = 255;

/** Server text in an error line, as Dovecot's proxies cut it. */
export const SERVER_TEXT: i32 = 160;

/** A whole reply line of ours, below RFC 5321's 512. */
export const REPLY_TEXT: i32 = 400;
