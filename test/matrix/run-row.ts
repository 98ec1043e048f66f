import { setTimeout } from 'node:timers/promises';
import type { Login } from '../live/daemon.ts';
import { retrieveAll } from '../live/mailbox.ts';
import { mailThrough, newNonce, putIntoMailbox, tokenFor, tryInVain } from './mail.ts';
import { LOCATION, OTHER_TENANT, type Place, TENANT, VIRTUAL_HOST } from './place.ts';
import { baseOf, clusterOf, type Fault, grantOf, isProtected, mechanismOf, type Row } from './rows.ts';
import type { Stage } from './stage.ts';

/** What the twin of a row came to. */
export interface Vain {
  delivered: boolean;
  /** The first error that the app saw; empty where there was none. */
  error: string;
}

/** A row as its witnesses tell it. */
export interface Result extends Pick<Row, 'proxyType' | 'protocol' | 'authentication' | 'app' | 'variant'> {
  ok: boolean;
  nonce: string;
  /** The mail server's own log. */
  server: { user: string; mechanism: string; tls: boolean } | null;
  /** The provider's log: the token that it issued, and that the mail server asked about. */
  provider: { grant: string; tokenId: string } | null;
  /** The Connectivity Proxy's log. */
  socks: { host: string; location: string } | null;
  /** Envoy's own counters. */
  envoy: { cluster: string };
  negative: Vain & { fault: Fault; withoutToken?: Vain };
  /** What was not as it must be; empty where ok. */
  problems: string[];
}

/** Plays a row and its twin. Not at the same time as another row: Envoy's counters are for all. Never throws. */
export async function runRow(stage: Stage, row: Row): Promise<Result> {
  const { place, twin } = stage.of(row);
  const problems: string[] = [];
  const check = (isRight: boolean, problem: string) => {
    if (!isRight) problems.push(problem);
  };
  const nonce = newNonce();
  const before = { clusters: await stage.connections(), socks: stage.proxy.log.length };

  const arrival = await mailThrough(stage, place, nonce).catch((error: Error) => {
    problems.push(error.message);
    return undefined;
  });
  if (arrival) check(arrival.arrived === arrival.sent, 'the message was changed on the way');
  const server = await loginAt(stage, place);
  check(isExpectedLogin(server, place), `the mail server's log: ${JSON.stringify(server)}`);
  check(loginsOf(stage, place).length <= 1, 'more than one login');
  const provider = issuedTo(stage, place);
  check(provider?.grant === grantOf(row), `the provider's log: ${JSON.stringify(provider)}`);
  check(provider === null || wasChecked(stage, provider.tokenId, true), 'the mail server did not ask about this token');
  const socks = tunnelSince(stage, before.socks);
  check(isExpectedTunnel(socks, row), `the Connectivity Proxy's log: ${JSON.stringify(socks)}`);
  const cluster = (await clustersSince(stage, before.clusters)).join(' ');
  check(cluster === clusterOf(row), `Envoy's cluster: ${cluster}`);

  const negative = { fault: row.fault, ...(await runTwin(stage, twin, problems)) };
  const { proxyType, protocol, authentication, app, variant } = row;
  return {
    ...{ proxyType, protocol, authentication, app, ...(variant && { variant }) },
    ok: problems.length === 0,
    ...{ nonce, server, provider, socks: socks && { host: socks.host, location: socks.location } },
    envoy: { cluster },
    negative,
    problems,
  };
}

/** The server's log is written by a process of its own, maybe after the answer to the app. */
const LOG_TIMEOUT = 3_000;

async function untilSeen<T>(look: () => T | undefined): Promise<T | undefined> {
  for (const end = Date.now() + LOG_TIMEOUT; Date.now() < end; await setTimeout(20)) {
    const seen = look();
    if (seen) return seen;
  }
  return undefined;
}

async function loginAt(stage: Stage, place: Place): Promise<Result['server']> {
  const login = await untilSeen(() => loginsOf(stage, place)[0]);
  return login ? { user: login.user, mechanism: login.method, tls: login.tls } : null;
}

function loginsOf({ dovecot, postfix }: Stage, { user, row }: Place): Login[] {
  const protocol = baseOf(row.protocol);
  const logins = protocol === 'smtp' ? postfix.logins() : dovecot.logins();
  return logins.filter((login) => login.user === user && login.service === protocol);
}

function isExpectedLogin(server: Result['server'], { user, row }: Place): boolean {
  return server?.user === user && server.mechanism === mechanismOf(row) && server.tls === isProtected(row);
}

/** One token and no more: every row has a user of its own. */
function issuedTo({ provider }: Stage, { name, user }: Place): Result['provider'] {
  const [token, ...more] = provider.log.filter((entry) => entry.client === name && entry.user === user);
  return token && more.length === 0 ? { grant: token.grant, tokenId: token.tokenId } : null;
}

function wasChecked({ provider }: Stage, id: string, active: boolean): boolean {
  return provider.checks.some((check) => check.tokenId === id && check.by === 'mail' && check.active === active);
}

function tunnelSince({ proxy }: Stage, from: number) {
  const [tunnel, ...more] = proxy.log.slice(from);
  return tunnel && more.length === 0 ? tunnel : null;
}

function isExpectedTunnel(socks: ReturnType<typeof tunnelSince>, { proxyType }: Row): boolean {
  if (proxyType === 'Internet') return socks === null;
  return socks?.host === VIRTUAL_HOST && socks.location === LOCATION && socks.tenant === TENANT && socks.code === 0;
}

async function clustersSince(stage: Stage, before: Record<string, number>): Promise<string[]> {
  const now = Object.entries(await stage.connections());
  return now.flatMap(([name, count]) => (count > (before[name] ?? 0) ? name : []));
}

/** Which part must refuse it (docs/errors.md). */
const CODES: Record<Fault, string> = {
  'wrong password': 'rejected',
  'wrong audience': 'rejected',
  'wrong client secret': 'token',
  'wrong tenant': 'socks',
};

async function runTwin(stage: Stage, twin: Place, problems: string[]): Promise<Omit<Result['negative'], 'fault'>> {
  const { fault, app } = twin.row;
  const before = lengths(stage);
  const token = await tokenFor(stage, twin);
  const vain = await tryTwin(stage, twin, token, problems);
  const clear = `postern: ${twin.name}: ${CODES[fault]}: `;
  if (!vain.error.includes(clear)) problems.push(`${fault}: the app saw "${vain.error}"`);
  if (!(await untilSeen(() => sawFault(stage, twin, before)))) problems.push(`${fault}: no witness of it`);
  if (app !== 'token') return vain;
  const withoutToken = await tryTwin(stage, stage.of(twin.row).place, undefined, problems);
  if (!withoutToken.error.includes('postern: ')) problems.push(`without a token the app saw "${withoutToken.error}"`);
  return { ...vain, withoutToken };
}

/** Nothing of the nonce may pass, and nobody may have logged in at the mail server. */
async function tryTwin(stage: Stage, place: Place, token: string | undefined, problems: string[]): Promise<Vain> {
  const nonce = newNonce();
  const isSmtp = baseOf(place.row.protocol) === 'smtp';
  if (!isSmtp && place.isTwin) await putIntoMailbox(stage, place, `${nonce}\r\n`);
  const logins = loginsOf(stage, place).length;
  const { error = '', seen } = await tryInVain(place, token, nonce).catch((cause: Error) => {
    problems.push(cause.message);
    return { error: '', seen: false };
  });
  const mails = isSmtp ? await retrieveAll(stage.dovecot.pop3, place) : [];
  const delivered = seen || mails.some((mail) => mail.includes(nonce)) || loginsOf(stage, place).length > logins;
  if (delivered) problems.push(`delivered in spite of ${place.isTwin ? place.row.fault : 'a login without a token'}`);
  return { delivered, error };
}

/** What the witnesses have written; what a row or another twin was the reason of is no witness of this one. */
type Witnesses = Pick<Stage, 'provider' | 'proxy' | 'dovecot' | 'postfix'>;

/** Of each log as it is now. */
export function lengths({ provider, proxy, dovecot, postfix }: Witnesses) {
  return {
    issued: provider.log.length,
    checks: provider.checks.length,
    refusals: provider.refusals.length,
    tunnels: proxy.log.length,
    dovecot: dovecot.log().length,
    postfix: postfix.log().length,
  };
}

/** The part that must notice the fault has done so since then, and no other. */
export function sawFault(
  { provider, proxy, dovecot, postfix }: Witnesses,
  { name, user, row }: Pick<Place, 'name' | 'user' | 'row'>,
  since: ReturnType<typeof lengths>,
): boolean {
  const [issued] = provider.log.slice(since.issued).filter((token) => token.client === name);
  switch (row.fault) {
    case 'wrong password':
      return [...dovecot.log().slice(since.dovecot), ...postfix.log().slice(since.postfix)].some(
        (line) => line.includes(user) && /auth(entication)? failed/.test(line),
      );
    case 'wrong audience':
      return provider.checks
        .slice(since.checks)
        .some((check) => issued && check.tokenId === issued.tokenId && !check.active);
    case 'wrong client secret':
      return (
        !issued &&
        provider.refusals
          .slice(since.refusals)
          .some(({ client, error }) => client === name && error === 'invalid_client')
      );
    case 'wrong tenant':
      return proxy.log.slice(since.tunnels).some(({ tenant, code }) => tenant === OTHER_TENANT && code !== 0);
  }
}
