import { describe, expect, test } from 'vitest';
import { fields, sessionAnswer } from '../../runners/answer.ts';
import { type Dialog, readDialogs } from '../../runners/dialog.ts';
import { type Call, type FakeConnection, FakeHost } from '../../runners/fake-host.ts';

/** Fresh VMs, and random events in each; POSTERN_FUZZ raises the first for a long hunt. */
const WORLDS = Number(process.env.POSTERN_FUZZ ?? 60);
const EVENTS = 350;
/** Connections of a world at once. */
const CONNECTIONS = 6;
/** Octets of a VM's memory: each connection may hold 256 KiB, and as much waits to be collected. */
const MEMORY = 8 << 20;

const PROTOCOLS = ['smtp', 'imap', 'pop3'] as const;
type Protocol = (typeof PROTOCOLS)[number];

const LOGIN = { user: 'alice', password: 'sesame-42' };
const APP = { user: 'crm', password: 'crm-pass-7' };
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
const PLAIN = base64(`\0${LOGIN.user}\0${LOGIN.password}`);
const SECRETS = [LOGIN.password, base64(LOGIN.password), PLAIN];

/** Bytes that dialogs have each side say, the material of everything. */
const MATERIAL = Object.fromEntries(
  PROTOCOLS.map((protocol) => {
    const says = readDialogs(protocol).flatMap(({ events }) => events.filter((event) => event.kind === 'says'));
    // Octets without end only take time here; the dialogs themselves have them.
    const short = says.filter(({ bytes }) => bytes.length < 4096);
    const of = (side: 'app' | 'server') => short.filter((event) => event.side === side).map(({ bytes }) => bytes);
    return [protocol, { app: of('app'), server: of('server') }];
  }),
) as Record<Protocol, Record<'app' | 'server', Buffer[]>>;

/** Needs the session of the real login. */
const SESSION: Record<Protocol, string> = {
  smtp: 'MAIL FROM:<a@example.org>\r\n',
  imap: 'a1 SELECT INBOX\r\n',
  pop3: 'STAT\r\n',
};

/** What may reach a server before its login succeeded, apart from the login itself. */
const HARMLESS: Record<Protocol, RegExp> = {
  smtp: /^((EHLO|HELO|NOOP|RSET|HELP)( .*)?|\*|)$/i,
  imap: /^([^ ]+ (CAPABILITY|NOOP|ID)( .*)?|\*|)$/i,
  pop3: /^((CAPA|UTF8)( .*)?|\*|)$/i,
};

/** The login, and nothing that an app could have put in its place. */
const OWN_LOGIN: Record<Protocol, RegExp> = {
  smtp: /^AUTH (PLAIN|LOGIN)( \S+)?$/,
  imap: /^postern\d+ (AUTHENTICATE (PLAIN|LOGIN)( \S+)?|LOGIN "alice" "sesame-42")$/,
  pop3: /^(AUTH (PLAIN|LOGIN)( \S+)?|USER alice|PASS sesame-42)$/,
};
const OWN_RESPONSES = [PLAIN, base64(LOGIN.user), base64(LOGIN.password)];

/** The app's goodbye needs no login, and what it pipelines behind goes with it. */
const GOODBYE: Record<Protocol, RegExp> = { smtp: /^QUIT( |$)/i, imap: /^[^ ]+ LOGOUT$/i, pop3: /^QUIT( |$)/i };
const SUCCESS: Record<Protocol, RegExp> = { smtp: /^2/m, imap: /^postern\d+ OK/im, pop3: /^\+OK/im };

/** Numbers of mulberry32: the same for the same seed, everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 to `bound` - 1. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  /** True in so many of 100 cases. */
  percent(chance: number): boolean {
    return this.below(100) < chance;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** Some octets changed, cut out, doubled or put in. */
  mutated(bytes: Buffer): Buffer {
    let result = Buffer.from(bytes);
    for (let times = 1 + this.below(3); times > 0; times--) {
      const at = this.below(result.length + 1);
      const end = Math.min(result.length, at + 1 + this.below(8));
      const put = [this.bytes(1), Buffer.alloc(0), result.subarray(at, end), this.of(SPLINTERS)];
      result = Buffer.concat([result.subarray(0, at), this.of(put), result.subarray(this.percent(50) ? at : end)]);
    }
    return result;
  }
}

/** What the machines look for. */
const SPLINTERS = [
  ...['\r\n', '\n', '\r', '\0', ' ', '"', '\\', '{5}\r\n', '{3+}\r\n', '{999999999999}\r\n', '+ \r\n', '334 \r\n'],
  ...['421 x\r\n', '* BYE x\r\n', '-ERR x\r\n', '250-', '* ', 'x'.repeat(600), 'AUTH PLAIN ', 'a LOGIN ', '='],
].map((text) => Buffer.from(text, 'latin1'));

/** A side of a connection that fell out of the rules. */
class Broken extends Error {}

/** What one connection's server has got, against what it may get. */
class Guard {
  /** Nothing more to watch: the login may have succeeded, or the app said goodbye. */
  done = false;
  readonly #protocol: Protocol;
  #read = 0;
  #loginSent = false;
  #saidSince = '';

  constructor(protocol: Protocol) {
    this.#protocol = protocol;
  }

  onServerSays(text: string): void {
    if (!this.#loginSent) return;
    this.#saidSince += text;
    if (SUCCESS[this.#protocol].test(this.#saidSince)) this.done = true;
  }

  /** @throws Broken */
  check(toServer: string): void {
    while (!this.done) {
      const end = toServer.indexOf('\r\n', this.#read);
      if (end < 0) break;
      this.#onLine(toServer.slice(this.#read, end));
      this.#read = end + 2;
    }
    const rest = toServer.slice(this.#read);
    if (!this.done && rest !== '') throw new Broken(`half a line to the server: ${JSON.stringify(rest)}`);
  }

  #onLine(line: string): void {
    const protocol = this.#protocol;
    const own = this.#isOwn(line);
    if (own && (line.includes(LOGIN.password) || OWN_RESPONSES.some((response) => line.endsWith(response))))
      this.#loginSent = true;
    if (GOODBYE[protocol].test(line)) this.done = true;
    else if (!own && !HARMLESS[protocol].test(line)) throw new Broken(`before the login: ${JSON.stringify(line)}`);
  }

  #isOwn(line: string): boolean {
    if (OWN_RESPONSES.includes(line)) return true;
    const [, , , response] = OWN_LOGIN[this.#protocol].exec(line) ?? [undefined, '', '', ''];
    const argument = line.split(' ').at(-1) ?? '';
    if (!OWN_LOGIN[this.#protocol].test(line)) return false;
    return response !== undefined || /^(PLAIN|LOGIN)$/.test(argument) || this.#isArgument(argument);
  }

  #isArgument(argument: string): boolean {
    return OWN_RESPONSES.includes(argument) || [LOGIN.user, LOGIN.password, `"${LOGIN.password}"`].includes(argument);
  }
}
