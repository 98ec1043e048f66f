import { describe, expect, test } from 'vitest';
import { fields, sessionAnswer } from '../../runners/answer.ts';
import { type Dialog, readDialogs } from '../../runners/dialog.ts';
import { type Call, type FakeConnection, FakeHost } from '../../runners/fake-host.ts';
import { bearerFields, oauthbearer, readFields, xoauth2 } from '../../runners/helper-events.ts';

/** Fresh VMs, and random events in each; POSTERN_FUZZ raises the first for a long hunt. */
const WORLDS = Number(process.env.POSTERN_FUZZ ?? 100);
const EVENTS = 500;
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
/** A ready token, and the newer ones after it; what an app brings; and what that is exchanged for. */
const SILENT = 'access-of-nobody';
const BROUGHT = 'brought-by-app';
const exchangedFor = (brought: string) => `access-for-${brought}`;
const OWN_TOKENS = [SILENT, exchangedFor(BROUGHT)].flatMap((token) => [
  token,
  base64(xoauth2(LOGIN.user, token)),
  base64(oauthbearer(LOGIN.user, token)),
]);
const SECRETS = [LOGIN.password, base64(LOGIN.password), PLAIN, ...OWN_TOKENS];

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

const RESPONSES = [PLAIN, base64(LOGIN.user), base64(LOGIN.password)];
const SASL = `(PLAIN( ${PLAIN})?|LOGIN( ${base64(LOGIN.user)})?)`;

/** The login with the destination's own values, and nothing that an app could have put in their place. */
const OWN_LOGIN: Record<Protocol, RegExp> = {
  smtp: new RegExp(`^(AUTH ${SASL}|${RESPONSES.join('|')})$`),
  imap: new RegExp(`^(postern\\d+ (AUTHENTICATE ${SASL}|LOGIN "alice" "sesame-42")|${RESPONSES.join('|')})$`),
  pop3: new RegExp(`^(AUTH ${SASL}|USER alice|PASS sesame-42|${RESPONSES.join('|')})$`),
};

/** A login by token, or a part of one; the value is not looked at here. */
const TOKEN_LOGIN: Record<Protocol, RegExp> = {
  smtp: /^(?:AUTH (?:XOAUTH2|OAUTHBEARER)(?: (\S+))?|([A-Za-z0-9+/]+=*))$/,
  imap: /^(?:postern\d+ AUTHENTICATE (?:XOAUTH2|OAUTHBEARER)(?: (\S+))?|([A-Za-z0-9+/]+=*))$/,
  pop3: /^(?:AUTH (?:XOAUTH2|OAUTHBEARER)|([A-Za-z0-9+/]+=*))$/,
};

/** With line feeds, which no user and no token can have, for the separators. */
function decoded(response: string): string {
  return Buffer.from(response, 'base64').toString('latin1').replaceAll('\x01', '\n');
}

/** The token in an initial response, or undefined. */
function tokenIn(response: string): string | undefined {
  return /^(?:user=|n,a=).*\nauth=Bearer ([ -~]+)\n\n$/s.exec(decoded(response))?.[1];
}

/** All tokens that an app may have presented in what it said. */
function tokensIn(said: string): Set<string> {
  const words = said.match(/[A-Za-z0-9+/]{12,}=*/g) ?? [];
  return new Set(words.flatMap((word) => /auth=Bearer ([ -~]+)\n\n$/i.exec(decoded(word))?.[1] ?? []));
}

/** The app's goodbye needs no login, and what it pipelines behind goes with it. */
const GOODBYE: Record<Protocol, RegExp> = { smtp: /^QUIT( |$)/i, imap: /^[^ ]+ LOGOUT$/i, pop3: /^QUIT( |$)/i };
const FAREWELL = /^(QUIT|postern\d+ LOGOUT)\r\n$/;
const SUCCESS: Record<Protocol, RegExp> = {
  smtp: /^2\d\d(?!-)/gm,
  imap: /^postern\d+ OK/gim,
  pop3: /^\+OK/gim,
};

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
  /** By the server: since the login, until then its latest piece. */
  #said = '';

  readonly #mayUse: (token: string) => boolean;

  /** `mayUse`: whether the login of this app may be done with this token. */
  constructor(protocol: Protocol, mayUse: (token: string) => boolean) {
    this.#protocol = protocol;
    this.#mayUse = mayUse;
  }

  onServerSays(text: string): void {
    // A line that is not ended goes on in the next piece.
    const before = this.#loginSent ? this.#said : this.#said.slice(this.#said.lastIndexOf('\n') + 1);
    this.#said = before + text;
    if (this.#loginSent && this.#successes > 0) this.done = true;
    // The server has hung up.
    if (this.#protocol === 'imap' && /^\* BYE/im.test(text)) this.done = true;
  }

  get #successes(): number {
    return [...this.#said.matchAll(SUCCESS[this.#protocol])].length;
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

  #onLogin(): void {
    // One success in the piece that set off the login is the answer to what came before it; a second one is early, and counts.
    if (!this.#loginSent && this.#successes > 1) this.done = true;
    this.#loginSent = true;
  }

  /** @throws Broken where the token is not one of this app's */
  #isTokenLogin(line: string): boolean {
    const [whole, ...values] = TOKEN_LOGIN[this.#protocol].exec(line) ?? [];
    const value = values.find((one) => one !== undefined);
    if (whole === undefined || value === undefined || value === 'AQ==') return whole !== undefined;
    const token = tokenIn(value);
    if (token !== undefined && !this.#mayUse(token)) throw new Broken('a login for a stranger');
    return token !== undefined;
  }

  #onLine(line: string): void {
    const own = OWN_LOGIN[this.#protocol].test(line) || this.#isTokenLogin(line);
    // Some servers of this test say yes before they have heard the password; that is theirs to say.
    if (own && !line.startsWith('USER ')) this.#onLogin();
    if (GOODBYE[this.#protocol].test(line)) this.done = true;
    else if (!own && !HARMLESS[this.#protocol].test(line))
      throw new Broken(`before the login: ${JSON.stringify(line)}`);
  }
}

type Kind = (typeof KINDS)[number];
const KINDS = ['basic', 'bearer', 'brings', 'exchange'] as const;

/** A listener of Envoy. */
interface Place {
  root: number;
  protocol: Protocol;
  /** How its destination logs in; `brings`: by a ready token that an app may replace. */
  kind: Kind;
  /** It demands a login of the app's own. */
  demands: boolean;
  preauth: boolean;
  /** Its last answer was no honest one: it may hold other values than ours. */
  mutated: boolean;
}

/** An app, its connection, and the server behind it. */
interface Session {
  number: number;
  place: Place;
  connection: FakeConnection;
  guard: Guard;
  mutated: boolean;
  /** The app knows what the listener demands. */
  knows: boolean;
  /** What the app said so far. */
  said: string;
  /** Of 100 pieces, how many are not what an honest side says. */
  wild: number;
  /** Who answers is Envoy's fallback. */
  fallback: boolean;
  /** tcp_proxy connects. */
  begun: boolean;
  serverSpoke: boolean;
  serverEnded: boolean;
  appEnded: boolean;
  /** Octets of `toServer` that the server has answered. */
  answered: number;
  /** Of the server's latest IMAP command. */
  tag: string;
}

/** What a twin takes away from the filter: the destination's login, the listener's demand, or that an app must bring a token. */
type Loosened = 'login' | 'demand' | 'exchange' | undefined;

class World {
  readonly host = new FakeHost();
  readonly events: string[] = [];
  /** Answers with a token, by path. */
  readonly asked: Record<string, number> = {};
  readonly #random: Random;
  readonly #loosened: Loosened;
  readonly #places: Place[] = [];
  readonly #sessions: Session[] = [];
  #numbers = 0;

  constructor(seed: number, loosened?: Loosened) {
    this.#random = new Random(seed);
    this.#loosened = loosened;
    for (const protocol of PROTOCOLS) this.#addPlace(protocol);
  }

  /** @throws Broken, and whatever the host says of a broken rule or a trap */
  step(): void {
    const session = this.#sessions.length > 0 ? this.#random.of(this.#sessions) : undefined;
    const choice = this.#random.below(100);
    if (choice < 8) this.#connect();
    else if (choice < 20) this.#answerCall();
    else if (choice < 22) this.#tell('queue', () => this.host.runQueue());
    else if (choice < 24) this.#pass();
    else if (choice < 25) this.#changeListeners();
    else if (session && choice < 58) this.#appSays(session);
    else if (session && choice < 96) this.#serverSays(session);
    else if (session) this.#disconnect(session);
    if (session && isSpent(session) && this.#random.percent(20)) this.#disconnect(session);
    for (const one of this.#sessions) {
      this.#follow(one);
      this.#check(one);
    }
  }

  /** Where does attempt 1 go? */
  #follow(session: Session): void {
    const { connection } = session;
    if (session.begun || !connection.connecting) return;
    session.begun = true;
    if (connection.filterState.get('envoy.tcp_proxy.cluster')?.startsWith('postern-fallback')) session.fallback = true;
  }

  /** What must always be so. @throws Broken */
  #check({ connection, guard, place, ...session }: Session): void {
    const { toServer, toApp } = connection;
    // At the deadline a farewell is tried, whoever is there.
    const bytes = FAREWELL.test(toServer) ? '' : toServer;
    if (bytes !== '' && !session.serverSpoke) throw new Broken('the server got bytes before its greeting');
    if (bytes !== '' && session.fallback) throw new Broken('the fallback got bytes');
    if (session.mutated) return;
    if (SECRETS.some((secret) => toApp.includes(secret) || this.host.log.some((line) => line.includes(secret))))
      throw new Broken('a secret where it must not be');
    if (place.demands && !session.knows && SECRETS.some((secret) => toServer.includes(secret)))
      throw new Broken('a login for a stranger');
    // A server that ended before the login has hung up, and sees what the app still says; but never what a stranger says.
    if (!session.serverEnded || (place.demands && !session.knows)) guard.check(toServer);
  }

  #tell(event: string, act: () => void): void {
    this.events.push(event);
    act();
  }

  // Listeners and their routes.

  #addPlace(protocol: Protocol): void {
    const kind = this.#random.of(KINDS);
    const demands = (kind === 'basic' || kind === 'bearer') && this.#random.percent(30);
    const preauth = protocol === 'imap' && !demands && kind !== 'exchange' && this.#random.percent(30);
    const id = `${protocol}:${this.#numbers++}`;
    this.#tell(
      `listener ${id} ${kind}${demands ? ' that demands a login' : ''}${preauth ? ' with preauth' : ''}`,
      () => {
        this.#places.push({ root: this.host.listener(id), protocol, kind, demands, preauth, mutated: false });
      },
    );
  }

  #changeListeners(): void {
    const place = this.#random.of(this.#places);
    // Envoy keeps a listener's context as long as it has connections.
    for (const session of this.#sessions.filter((one) => one.place === place)) this.#disconnect(session);
    this.#tell(`listener ${place.root} is deleted`, () => this.host.deleteListener(place.root));
    // Nobody is told of an answer any more.
    for (const call of this.host.calls.filter(({ root }) => root === place.root)) {
      this.host.calls.splice(this.host.calls.indexOf(call), 1);
    }
    this.#places.splice(this.#places.indexOf(place), 1);
    this.#addPlace(place.protocol);
  }

  #answerCall(): void {
    const { calls } = this.host;
    if (calls.length === 0) return;
    const call = this.#random.of(calls);
    const honest = this.#honest(call);
    const mutate = this.#random.percent(10);
    const body = mutate ? this.#random.mutated(Buffer.from(honest)).toString('latin1') : honest;
    const status = this.#random.percent(10) ? this.#random.of(['', '503', '409', '2000']) : '200';
    if (call.path.startsWith('/v1/sessions')) this.#remember(call, mutate);
    else if (mutate) this.#distrust(call);
    this.#tell(`answer to ${call.path}: ${status} ${JSON.stringify(body)}`, () => this.host.answer(call, body, status));
  }

  #honest(call: Call): string {
    if (call.path.startsWith('/v1/sessions')) return this.#route(call);
    return call.path.startsWith('/v1/changes') ? this.#changes(call) : this.#token(call);
  }

  /** A token of this answer may be another one than ours. */
  #distrust({ root }: Call): void {
    for (const session of this.#sessions) if (session.connection.root === root) session.mutated = true;
  }

  /** To an exchange or a rejection. */
  #token({ path, body }: Call): string {
    const { route = '', token } = readFields(body);
    const random = this.#random;
    if (random.percent(5)) return fields({ failure: random.of(['token', 'nonsense']), text: 'why' });
    if (random.percent(5)) return '';
    if (random.percent(5)) return fields({ route: 'another', ...bearerFields(LOGIN.user, 'access-elsewhere') });
    this.asked[path] = (this.asked[path] ?? 0) + 1;
    return fields({ route, ...bearerFields(LOGIN.user, token === undefined ? SILENT : exchangedFor(token)) });
  }

  #remember(call: Call, mutated: boolean): void {
    for (const place of this.#places) if (place.root === call.root) place.mutated = mutated;
    for (const session of this.#sessions) {
      const { root, connecting } = session.connection;
      if (root === call.root && !connecting) session.mutated = mutated;
    }
  }

  #route({ root }: Call): string {
    const random = this.#random;
    if (random.percent(5))
      return fields({ failure: random.of(['resolve', 'nonsense']), text: 'why', destination: 'mail' });
    const place = this.#places.find((one) => one.root === root);
    const dialog = {
      login: this.#loosened === 'login' || place?.kind !== 'basic' ? undefined : LOGIN,
      token: this.#loosened === 'login' ? undefined : this.#tokenLogin(place?.kind),
      app: place?.demands && this.#loosened !== 'demand' ? APP : undefined,
      preauth: place?.preauth ?? false,
    } as Dialog;
    return sessionAnswer(dialog, {
      keep: random.of(['0', '1', '60', '120']),
      limit: random.of(['2', '1000', '1000', '1000']),
      deadline: random.of(['1000', '30000']),
      since: 'boot.1',
      to: random.of(['direct', 'direct', 'relay']),
      address: random.percent(5) ? 'nonsense' : random.of([['192.0.2.1:25'], ['[2001:db8::1]:25', '192.0.2.1:25']]),
      ...(random.percent(20) && { sni: 'mail.example' }),
    });
  }

  #tokenLogin(kind: Kind | undefined): Dialog['token'] {
    const bearer = { kind: 'bearer', user: LOGIN.user, token: SILENT } as const;
    if (kind === 'bearer' || (kind === 'exchange' && this.#loosened === 'exchange')) return bearer;
    if (kind === 'brings') return { ...bearer, brings: 'refresh_token' };
    return kind === 'exchange' ? { kind, brings: 'authorization_code' } : undefined;
  }

  #changes({ path }: Call): string {
    if (!path.startsWith('/v1/changes')) return '';
    const since = `boot.${this.#random.below(3)}`;
    if (this.#random.percent(30)) return fields({ since, all: '1' });
    return fields({ since, listener: [`smtp:${this.#random.below(6)}`, 'imap:unknown'] });
  }

  /** Time. */
  #pass(): void {
    const milliseconds = this.#random.of([1, 30, 250, 250, 1000, 2500, 31_000]);
    this.#tell(`${milliseconds} ms`, () => this.host.advance(milliseconds));
  }

  // Connections.

  #connect(): void {
    if (this.#sessions.length >= CONNECTIONS) return;
    const place = this.#random.of(this.#places);
    const number = this.#numbers++;
    this.host.callsFail = this.#random.percent(3);
    this.#tell(`${number} connects to ${place.root}${this.host.callsFail ? ', calls fail' : ''}`, () => {
      const connection = this.host.connect(place.root);
      const { protocol, mutated } = place;
      const flags = { mutated, knows: this.#random.percent(50), fallback: this.#random.percent(8) };
      const wild = this.#random.of([0, 10, 30]);
      const states = { begun: false, serverSpoke: false, serverEnded: false, appEnded: false, answered: 0, tag: '' };
      const guard = new Guard(protocol, (token) => mayUse(session, token));
      const session: Session = { number, place, connection, guard, wild, said: '', ...flags, ...states };
      this.#sessions.push(session);
    });
    this.host.callsFail = false;
  }

  #disconnect(session: Session): void {
    if (!this.#sessions.includes(session)) return;
    this.#sessions.splice(this.#sessions.indexOf(session), 1);
    this.#tell(`${session.number} is gone`, () => this.host.disconnect(session.connection));
  }

  #appSays(session: Session): void {
    if (session.appEnded || session.connection.closed) return;
    const bytes = this.#appBytes(session);
    session.said += bytes.toString('latin1');
    session.appEnded = this.#random.percent(2);
    this.#tell(`${session.number} app: ${shown(bytes)}${session.appEnded ? ' and ends' : ''}`, () =>
      this.host.appSays(session.connection, bytes, session.appEnded),
    );
  }

  #appBytes({ place: { protocol, kind, demands }, knows, wild }: Session): Buffer {
    const random = this.#random;
    const brings = kind === 'exchange' || kind === 'brings';
    if (brings && knows && random.percent(50)) return Buffer.from(random.of(TOKEN_LOGINS[protocol]));
    if (demands && knows && random.percent(50)) return Buffer.from(random.of(APP_LOGINS[protocol]));
    if (random.percent(40)) return Buffer.from(SESSION[protocol]);
    const bytes = random.of(MATERIAL[protocol].app);
    if (!random.percent(wild)) return bytes;
    if (random.percent(5)) return Buffer.alloc(random.below(300_000), random.of(['x', 'NOOP\r\n', '{9}\r\n']));
    return random.percent(30) ? bytes.subarray(0, random.below(bytes.length + 1)) : random.mutated(bytes);
  }

  #serverSays(session: Session): void {
    const { connection } = session;
    if (!connection.connecting || connection.closed || session.serverEnded) return;
    // Envoy tells of the attempt before there is any result of it.
    this.host.runQueue();
    if (!session.serverSpoke) this.#reach(session);
    const bytes = session.fallback
      ? Buffer.from(GREETINGS[session.place.protocol][1] ?? '')
      : this.#serverBytes(session);
    session.serverEnded = session.fallback || this.#random.percent(2);
    // Envoy's connection set-up is an event without bytes.
    if (bytes.length === 0 && !session.serverEnded && !this.#random.percent(10)) return;
    if (bytes.length > 0 || session.serverEnded) session.serverSpoke = true;
    session.guard.onServerSays(bytes.toString('latin1'));
    this.#tell(`${session.number} server: ${shown(bytes)}${session.serverEnded ? ' and ends' : ''}`, () =>
      this.host.serverSays(connection, bytes, session.serverEnded),
    );
  }

  /** What Envoy says of the attempt that came through. */
  #reach({ connection, fallback, place }: Session): void {
    if (fallback) connection.properties.set('xds\0cluster_name\0', `postern-fallback-${place.protocol}`);
    connection.properties.set('upstream\0request_attempt_count\0', this.#random.of(['\x01', '\x02', '\x05']));
    if (this.#random.percent(50)) connection.properties.set('upstream\0transport_failure_reason\0', 'TLS_error');
  }

  #serverBytes(session: Session): Buffer {
    const random = this.#random;
    const { protocol } = session.place;
    const honest = session.serverSpoke ? this.#serverAnswer(session) : Buffer.from(random.of(GREETINGS[protocol]));
    if (!random.percent(session.wild)) return honest;
    const endless = Buffer.alloc(random.below(20_000), random.of(['x', '250-x\r\n', '* OK x\r\n']));
    const others = [
      random.bytes(1 + random.below(40)),
      endless,
      random.of(MATERIAL[protocol].server),
      random.mutated(honest),
    ];
    return random.of([...others, honest.subarray(0, random.below(honest.length + 1))]);
  }

  /** What a server says to the next line that it got. */
  #serverAnswer(session: Session): Buffer {
    const got = session.connection.toServer;
    const end = got.indexOf('\r\n', session.answered);
    if (end < 0) return Buffer.alloc(0);
    const line = got.slice(session.answered, end);
    session.answered = end + 2;
    if (session.place.protocol === 'imap') session.tag = /^(\S+) [A-Z]/i.exec(line)?.[1] ?? session.tag;
    const answers = ANSWERS[session.place.protocol].find(([command]) => command.test(line))?.[1] ?? [''];
    return Buffer.from(this.#random.of(answers).replaceAll('TAG', session.tag), 'latin1');
  }
}

/** Whether the app's session may be one that this token opens. */
function mayUse({ place: { kind }, said, mutated }: Session, token: string): boolean {
  if (mutated) return true;
  const brought = [...tokensIn(said)].some((one) => token === exchangedFor(one));
  if (kind === 'exchange') return brought;
  return token === SILENT ? kind !== 'basic' : kind === 'brings' && brought;
}

/** Little can happen here any more. */
function isSpent({ connection, guard, serverEnded, appEnded }: Session): boolean {
  return guard.done || serverEnded || appEnded || connection.closed;
}

const APP_PLAIN = base64(`\0${APP.user}\0${APP.password}`);
const APP_LOGINS: Record<Protocol, string[]> = {
  smtp: [`AUTH PLAIN ${APP_PLAIN}\r\n`, `EHLO app\r\nAUTH PLAIN ${APP_PLAIN}\r\nMAIL FROM:<a@b>\r\n`],
  imap: [`1 AUTHENTICATE PLAIN ${APP_PLAIN}\r\n`, '1 LOGIN crm {10+}\r\ncrm-pass-7\r\n2 SELECT INBOX\r\n'],
  pop3: [`AUTH PLAIN ${APP_PLAIN}\r\n`, 'USER crm\r\nPASS crm-pass-7\r\n'],
};

const INLINE = base64(xoauth2(LOGIN.user, BROUGHT));
const TOKEN_LOGINS: Record<Protocol, string[]> = {
  smtp: [`AUTH XOAUTH2 ${INLINE}\r\n`, `AUTH XOAUTH2\r\n${INLINE}\r\n`],
  imap: [`1 AUTHENTICATE XOAUTH2 ${INLINE}\r\n`, `1 AUTHENTICATE XOAUTH2\r\n${INLINE}\r\n2 SELECT INBOX\r\n`],
  pop3: [`AUTH OAUTHBEARER ${base64(oauthbearer(LOGIN.user, BROUGHT))}\r\n`, `AUTH XOAUTH2\r\n${INLINE}\r\n`],
};

/** A challenge that says that a token was refused, and what answers it. */
const REFUSAL = base64('{"status":"400"}');
const REFUSED = /^(AQ==)?$/;

const GREETINGS: Record<Protocol, string[]> = {
  smtp: ['220 mx ESMTP\r\n', '421 4.3.2 later\r\n', '220-mx\r\n220 ESMTP\r\n', '220 mx ESMTP\r\n'],
  imap: [
    '* OK ready\r\n',
    '* BYE later\r\n',
    '* PREAUTH ready\r\n',
    '* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n',
  ],
  pop3: ['+OK ready\r\n', '-ERR later\r\n', '+OK <1.2@mx>\r\n', '+OK ready\r\n'],
};

const TOKEN_ANSWERS: Record<Protocol, string[]> = {
  smtp: ['235 2.7.0 in\r\n', '235 2.7.0 in\r\n', '535 5.7.8 no\r\n', `334 ${REFUSAL}\r\n`],
  imap: ['TAG OK in\r\n', 'TAG OK in\r\n', 'TAG NO [AUTHENTICATIONFAILED] no\r\n', `+ ${REFUSAL}\r\n`],
  pop3: ['+OK in\r\n', '+OK in\r\n', '-ERR [AUTH] no\r\n', `+ ${REFUSAL}\r\n`],
};

/** The first pattern that matches a server's line, and what servers say to it. */
const ANSWERS: Record<Protocol, [RegExp, string[]][]> = {
  smtp: [
    [
      /^EHLO /i,
      [
        '250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n',
        '250-mx\r\n250 AUTH LOGIN OAUTHBEARER\r\n',
        '502 5.5.1 no\r\n',
      ],
    ],
    [/^HELO /i, ['250 mx\r\n', '250 mx\r\n', '421 4.3.0 no\r\n']],
    [/^AUTH (PLAIN|XOAUTH2|OAUTHBEARER|LOGIN.*)$/, ['334 \r\n', '334 VXNlcm5hbWU6\r\n', '504 5.5.4 no\r\n']],
    [REFUSED, ['535 5.7.8 no\r\n', '535 5.7.8 no\r\n', '421 4.7.0 bye\r\n']],
    [/^AUTH (XOAUTH2|OAUTHBEARER) /, TOKEN_ANSWERS.smtp],
    [/^AUTH PLAIN /, ['235 2.7.0 in\r\n', '235 2.7.0 in\r\n', '535 5.7.8 no\r\n', '334 \r\n']],
    [new RegExp(`^${base64(LOGIN.user)}$`), ['334 UGFzc3dvcmQ6\r\n']],
    [new RegExp(`^(${RESPONSES.join('|')})$`), ['235 2.7.0 in\r\n', '454-4.7.0 no\r\n454 4.7.0 later\r\n']],
    [/^QUIT/i, ['221 2.0.0 bye\r\n']],
    [/^[A-Za-z0-9+/]{30,}=*$/, TOKEN_ANSWERS.smtp],
    [/./, ['250 2.0.0 done\r\n', '250 2.0.0 done\r\n', '500 5.5.2 what\r\n']],
  ],
  imap: [
    [
      /^\S+ CAPABILITY/i,
      [
        '* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2\r\nTAG OK done\r\n',
        '* CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER\r\nTAG OK done\r\n',
        '* CAPABILITY IMAP4 LOGINDISABLED\r\nTAG OK done\r\n',
        '* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n',
      ],
    ],
    [/^\S+ AUTHENTICATE \S+$/, ['+ \r\n', '+ \r\n', 'TAG NO no\r\n']],
    [REFUSED, ['TAG NO no\r\n', 'TAG NO [AUTHENTICATIONFAILED] no\r\n', '* BYE no\r\n']],
    [/^\S+ AUTHENTICATE (XOAUTH2|OAUTHBEARER) |^[A-Za-z0-9+/]{30,}=*$/, TOKEN_ANSWERS.imap],
    [
      /^\S+ (AUTHENTICATE|LOGIN) /,
      ['TAG OK in\r\n', '* CAPABILITY IMAP4rev1 IDLE\r\nTAG OK in\r\n', 'TAG NO [AUTHENTICATIONFAILED] no\r\n'],
    ],
    [new RegExp(`^(${RESPONSES.join('|')})$`), ['TAG OK in\r\n', '+ \r\n', 'TAG NO [UNAVAILABLE] later\r\n']],
    [/^\S+ LOGOUT/i, ['* BYE out\r\nTAG OK out\r\n']],
    [/./, ['TAG OK done\r\n', '* 1 EXISTS\r\nTAG OK done\r\n', 'TAG BAD what\r\n']],
  ],
  pop3: [
    [
      /^CAPA/i,
      [
        '+OK\r\nSASL PLAIN LOGIN XOAUTH2\r\nSTLS\r\n.\r\n',
        '+OK\r\nSASL OAUTHBEARER\r\n.\r\n',
        '+OK\r\nUSER\r\n.\r\n',
        '-ERR what\r\n',
      ],
    ],
    [/^AUTH /, ['+ \r\n', '+ \r\n', '+OK in\r\n', '-ERR [AUTH] no\r\n']],
    [REFUSED, ['-ERR [AUTH] no\r\n', '-ERR no\r\n']],
    [/^[A-Za-z0-9+/]{30,}=*$/, TOKEN_ANSWERS.pop3],
    [new RegExp(`^${base64(LOGIN.user)}$`), ['+ \r\n']],
    [new RegExp(`^(${RESPONSES.join('|')})$`), ['+OK in\r\n', '-ERR [SYS/TEMP] later\r\n']],
    [/./, ['+OK\r\n', '+OK done\r\n', '-ERR [AUTH] no\r\n']],
  ],
};

function shown(bytes: Buffer): string {
  const text = JSON.stringify(bytes.subarray(0, 5000).toString('latin1'));
  return bytes.length > 5000 ? `${text} ... ${bytes.length} octets` : text;
}

/** Plays one world. @throws Error with the seed and the events of what was broken */
function play(seed: number, loosened?: Loosened): World {
  const world = new World(seed, loosened);
  try {
    for (let count = 0; count < EVENTS; count++) world.step();
    if (world.host.memoryBytes > MEMORY) throw new Broken(`${world.host.memoryBytes} octets of memory`);
  } catch (cause) {
    throw new Error(`seed ${seed}: ${(cause as Error).message}\n${world.events.join('\n')}`, { cause });
  }
  return world;
}

const SEEDS = Array.from({ length: WORLDS }, (_, index) => index + 1);

/** What of `seeds` is broken, first lines only. */
function broken(seeds: number[], loosened: Loosened): string[] {
  return seeds.flatMap((seed) => {
    try {
      play(seed, loosened);
      return [];
    } catch (error) {
      return [(error as Error).message.split('\n', 1)[0] ?? ''];
    }
  });
}

describe('random events on the compiled filter', () => {
  test(`${WORLDS * EVENTS} events: nothing traps, no rule is broken, no byte is where it must not be`, {
    timeout: 60_000 + WORLDS * 1000,
  }, () => {
    const counted = new Map<string, number>();
    for (const seed of SEEDS) {
      const { host, asked } = play(seed);
      for (const [name, count] of [...host.counted, ...Object.entries(asked)])
        counted.set(name, (counted.get(name) ?? 0) + count);
    }
    // It is no proof where nobody got far.
    for (const protocol of PROTOCOLS) {
      expect(counted.get(`postern.${protocol}.login`), `logins, ${protocol}`).toBeGreaterThan(WORLDS / 10);
      expect(counted.get(`postern.${protocol}.failure.rejected`), `refused, ${protocol}`).toBeGreaterThan(0);
      expect(counted.get(`postern.${protocol}.failure.token`), `no token, ${protocol}`).toBeGreaterThan(0);
    }
    expect(counted.get('/v1/exchanges'), 'exchanged').toBeGreaterThan(WORLDS / 10);
    expect(counted.get('/v1/rejections'), 'a newer token').toBeGreaterThan(WORLDS / 10);
  });

  test('the twin: a filter that lets an app through without the login is found', () => {
    expect(broken(SEEDS.slice(0, 20), 'login').join()).toContain('before the login');
  });

  test('the twin: a filter that logs in for a stranger is found', () => {
    expect(broken(SEEDS.slice(0, 20), 'demand').join()).toContain('a login for a stranger');
  });

  test('the twin: a filter that logs in by another token than the one for what the app brought is found', () => {
    expect(broken(SEEDS.slice(0, 20), 'exchange').join()).toContain('a login for a stranger');
  });
});
