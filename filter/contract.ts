// The bodies of docs/contract.md, read and written. Pure: no host calls here.
import { EnvoyRoute } from './filter-state';
import { decode, encode } from './protocol/base64';
import { Bytes } from './protocol/bytes';
import { Failure, failureOf } from './protocol/failure';
import { Bearer, bearerOfXoauth2 } from './protocol/sasl/bearer';
import { Credentials } from './protocol/sasl/credentials';
import { Login, Terms } from './protocol/terms';
import { wordsOf } from './protocol/words';

/** The contract's ranges: milliseconds, seconds. */
const DEADLINE_LEAST: i32 = 1000;
const DEADLINE_MOST: i32 = 600000;
const KEEP_MOST: i32 = 120;

/** Octets of a body (docs/contract.md). */
const BODY: i32 = 65536;

/** Lower-case letters, digits, "." and "-". */
function isKey(line: Bytes, length: i32): bool {
  for (let i = 0; i < length; i++) {
    const byte = line.at(i);
    const letter = byte >= 0x61 && byte <= 0x7a;
    if (!letter && !(byte >= 0x30 && byte <= 0x39) && byte != 0x2d && byte != 0x2e) return false;
  }
  return true;
}

/** A body of flat lines, `key: base64`. */
export class Fields {
  /** False where any line has another form. */
  valid: bool = true;
  private readonly keys: Bytes[] = [];
  private readonly values64: Bytes[] = [];

  constructor(body: Bytes) {
    let start = body.length > BODY ? body.length : 0;
    if (start > 0) this.valid = false;
    for (let end = body.indexOf(0x0a, start); end >= 0; end = body.indexOf(0x0a, start)) {
      this.add(body.slice(start, end));
      start = end + 1;
    }
    if (start < body.length) this.valid = false;
  }

  private add(line: Bytes): void {
    const colon = line.indexOf(0x3a);
    if (colon < 1 || line.at(colon + 1) != 0x20 || !isKey(line, colon)) {
      this.valid = false;
      return;
    }
    const value = line.slice(colon + 2, line.length);
    if (decode(value) == null) this.valid = false;
    this.keys.push(line.slice(0, colon));
    this.values64.push(value);
  }

  has(key: string): bool {
    return this.indexOf(key, 0) >= 0;
  }

  /** The value in base64, or nothing. */
  base64(key: string): Bytes {
    const index = this.indexOf(key, 0);
    return index < 0 ? new Bytes() : this.values64[index];
  }

  /** The value, or nothing. */
  value(key: string): Bytes {
    return decoded(this.base64(key));
  }

  values(key: string): Bytes[] {
    const found: Bytes[] = [];
    for (let i = this.indexOf(key, 0); i >= 0; i = this.indexOf(key, i + 1)) found.push(decoded(this.values64[i]));
    return found;
  }

  /** A decimal number from 0 to 2,147,483,647, or -1. */
  number(key: string): i32 {
    const digits = this.value(key);
    let number: i64 = digits.length > 0 && digits.length <= 10 ? 0 : -1;
    for (let i = 0; i < digits.length && number >= 0; i++) {
      const digit = digits.at(i) - 0x30;
      number = digit < 0 || digit > 9 ? -1 : number * 10 + digit;
    }
    return number > i32.MAX_VALUE ? -1 : <i32>number;
  }

  private indexOf(key: string, from: i32): i32 {
    for (let i = from; i < this.keys.length; i++) {
      if (this.keys[i].equals(key)) return i;
    }
    return -1;
  }
}

function decoded(base64: Bytes): Bytes {
  const value = decode(base64);
  return value == null ? new Bytes() : value;
}

/** One line of a request body. */
export function field(key: string, value: Bytes): Bytes {
  return Bytes.of(`${key}: `).append(encode(value)).text('\n');
}

/** Where a connection goes, and what it is held to. One answer of POST /v1/sessions, never mixed with another. */
export class Route {
  id: Bytes = new Bytes();
  relay: bool = false;
  addresses: Bytes[] = [];
  /** TLS to this name, or to this IP literal; neither: plain. */
  sni: Bytes = new Bytes();
  san: Bytes = new Bytes();
  terms: Terms = new Terms();
  /** Envoy keeps connections to the server ready. */
  preconnect: bool = false;
  deadlineMs: i32 = 30000;
  /** Connections of the listener that this worker may hold. */
  limit: i32 = 1;
  keepSeconds: i32 = 0;
  /** The state of sidecar-auth that the answer is of: BOOT.N. */
  since: Bytes = new Bytes();
  /** There is no way: the reason, for the app. */
  failure: Failure = Failure.none;
  failureText: string = '';
  /** What Envoy is told, once a connection has gone this way. */
  envoy: EnvoyRoute | null = null;

  get tls(): bool {
    return this.sni.length > 0 || this.san.length > 0;
  }

  static none(failure: Failure, text: string): Route {
    const route = new Route();
    route.terms.destination = 'unknown';
    route.failure = failure;
    route.failureText = text;
    return route;
  }
}

/** Reads an answer of POST /v1/sessions; one that is not of the contract's form becomes a route of failure `internal`. */
export function routeFrom(body: Bytes): Route {
  const fields = new Fields(body);
  if (!fields.valid) return Route.none(Failure.internal, 'malformed answer of sidecar-auth');
  if (fields.has('failure')) {
    const none = Route.none(failureOf(fields.value('failure')), fields.value('text').toString());
    if (fields.has('destination')) none.terms.destination = fields.value('destination').toString();
    return none;
  }
  return completeRoute(fields);
}

function completeRoute(fields: Fields): Route {
  const route = new Route();
  route.id = fields.value('route');
  route.relay = fields.value('to').equals('relay');
  route.addresses = firstTwo(fields.values('address'));
  route.sni = fields.value('sni');
  route.san = fields.value('san');
  route.preconnect = fields.value('preconnect').equals('yes');
  route.deadlineMs = fields.number('deadline');
  route.limit = fields.number('limit');
  route.keepSeconds = fields.number('keep');
  route.since = fields.value('since');
  route.terms = termsFrom(fields);
  if (isComplete(route, fields)) return route;
  return Route.none(Failure.internal, 'incomplete answer of sidecar-auth');
}

/** One per family, the preferred first; what stands behind them is never dialled. */
function firstTwo(addresses: Bytes[]): Bytes[] {
  return addresses.length > 2 ? addresses.slice(0, 2) : addresses;
}

function isComplete(route: Route, fields: Fields): bool {
  const login = fields.value('login');
  // Half a demand would let everyone in.
  if (fields.has('app.user') != fields.has('app.password')) return false;
  if (route.id.length == 0 || route.limit < 1) return false;
  if (route.deadlineMs < DEADLINE_LEAST || route.deadlineMs > DEADLINE_MOST) return false;
  if (route.keepSeconds < 0 || route.keepSeconds > KEEP_MOST) return false;
  if (!route.relay && (!fields.value('to').equals('direct') || route.addresses.length < 1)) return false;
  // A listener with a login of its own has nothing to exchange.
  if (fields.has('brings') && (fields.has('app.user') || bringsOf(fields) == '')) return false;
  switch (loginOf(fields)) {
    case Login.none:
      return login.equals('none') && !fields.has('brings');
    case Login.basic:
      return fields.has('user') && fields.has('password') && fields.has('plain') && !fields.has('brings');
    case Login.bearer:
      return hasTokens(fields);
    default:
      // After PREAUTH the app would bring nothing.
      return fields.has('brings') && !fields.value('greeting').equals('preauth');
  }
}

function loginOf(fields: Fields): Login {
  const login = fields.value('login');
  if (login.equals('basic')) return Login.basic;
  if (login.equals('bearer')) return Login.bearer;
  return login.equals('exchange') ? Login.exchange : Login.none;
}

function bringsOf(fields: Fields): string {
  const brings = fields.value('brings');
  if (brings.equals('refresh_token')) return 'a refresh token';
  return brings.equals('authorization_code') ? 'an authorization code' : '';
}

function hasTokens(fields: Fields): bool {
  return fields.value('xoauth2').length > 0 && fields.value('oauthbearer').length > 0 && fields.has('grant');
}

function termsFrom(fields: Fields): Terms {
  const terms = new Terms();
  terms.destination = fields.value('destination').toString();
  terms.relay = fields.value('to').equals('relay');
  terms.login = loginOf(fields);
  terms.credentials = credentialsFrom(fields);
  terms.brings = bringsOf(fields);
  if (fields.has('mechanisms')) terms.mechanisms = wordsOf(fields.value('mechanisms'));
  terms.remembers = !fields.value('capabilities').equals('asked');
  terms.hello = fields.value('hello');
  terms.preauth = fields.value('greeting').equals('preauth');
  if (fields.has('app.user')) {
    terms.appUser = fields.value('app.user');
    terms.appPassword = fields.value('app.password');
  }
  return terms;
}

function credentialsFrom(fields: Fields): Credentials {
  const credentials = new Credentials();
  credentials.user = fields.value('user');
  credentials.password = fields.value('password');
  credentials.user64 = fields.base64('user');
  credentials.password64 = fields.base64('password');
  credentials.plain64 = fields.base64('plain');
  credentials.xoauth264 = fields.base64('xoauth2');
  credentials.oauthbearer64 = fields.base64('oauthbearer');
  credentials.grant = fields.value('grant');
  const bearer = bearerOfXoauth2(fields.value('xoauth2'));
  if (bearer != null) credentials.token = bearer.token;
  return credentials;
}

/** What POST /v1/exchanges or POST /v1/rejections brought. */
export class TokenAnswer {
  /** Null where there is no token for this route. */
  credentials: Credentials | null = null;
  /** sidecar-auth's own reason for that, if it said one. */
  failure: Failure = Failure.none;
  failureText: string = '';
}

/** A token is taken for the route that the connection goes by only: for another one it could reach another host. */
export function tokenAnswerFrom(body: Bytes, route: Bytes): TokenAnswer {
  const answer = new TokenAnswer();
  const fields = new Fields(body);
  if (!fields.valid) return answer;
  if (fields.has('failure')) {
    answer.failure = failureOf(fields.value('failure'));
    answer.failureText = fields.value('text').toString();
  } else if (fields.value('route').same(route) && hasTokens(fields)) {
    answer.credentials = credentialsFrom(fields);
  }
  return answer;
}

export function exchangeBody(route: Bytes, presented: Bearer): Bytes {
  return field('route', route).append(field('user', presented.user)).append(field('token', presented.token));
}

/** `presented`: the app's part of the exchange that the refused login came from, or null. */
export function rejectionBody(route: Bytes, text: string, grant: Bytes, presented: Bearer | null): Bytes {
  const body = presented != null ? exchangeBody(route, presented) : field('route', route);
  body.append(field('failure', Bytes.of('rejected'))).append(field('text', Bytes.of(text)));
  return grant.length > 0 ? body.append(field('grant', grant)) : body;
}
