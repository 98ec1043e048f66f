import { PROTOCOLS, type Protocol } from '../arms/arm.ts';
import { type Goal, interleave, type Result } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import { SESSION_METRICS, sessionSample } from '../way.ts';
import { againstOthers, againstPlainEnvoy, withTls } from './sessions-goals.ts';
import { plainWays, tlsWays, tokenWays, type Ways } from './sessions-ways.ts';

/** Whole sessions: login, a message of 2 KiB, the end. */
export const sessions: Case = { name: 'sessions', run };

interface Round {
  protocol: Protocol;
  atOnce: number;
}

/** Seconds of one measurement: its number of sessions is what the arm does in that time. */
const SECONDS = 0.7;

/** An arm whose code V8 compiles has settled after so many sessions of a protocol. */
const FIRST = 3000;
/** Tell an arm's rate. */
const FEW = 400;

/** The arms of all results but one, which has all. */
const FEWER = ['envoy', 'postern', 'nginx'];

async function run(stage: Stage): Promise<Result[]> {
  return [...(await inClear(stage)), ...(await withTokens(stage)), ...(await toTls(stage))];
}

async function inClear(stage: Stage): Promise<Result[]> {
  const all = await plainWays(stage);
  const fewer = {
    ways: all.ways.filter(({ name }) => FEWER.includes(name)),
    notes: all.notes.filter((note) => FEWER.some((name) => note.startsWith(`${name} `))),
  };
  const measure = measurer(stage, { kind: 'Basic', suffix: '' });
  const results: Result[] = [];
  for (const round of rounds(stage)) {
    if (isMain(round))
      results.push(await measure(round, all, (title) => [...againstPlainEnvoy(title), ...againstOthers(title)]));
    else results.push(await measure(round, fewer, againstPlainEnvoy));
  }
  await stage.clear();
  return results;
}

async function withTokens(stage: Stage): Promise<Result[]> {
  const ways = await tokenWays(stage);
  const measure = measurer(stage, { kind: 'XOAUTH2', suffix: ' xoauth2' });
  const results: Result[] = [];
  for (const round of rounds(stage)) {
    if (!stage.quick || isMain(round)) results.push(await measure(round, ways, againstPlainEnvoy));
  }
  await stage.clear();
  return results;
}

async function toTls(stage: Stage): Promise<Result[]> {
  const all = await tlsWays(stage);
  const fewer = { ...all, ways: all.ways.filter(({ name }) => !name.startsWith('dovecot')) };
  const measure = measurer(stage, { kind: 'TLS to the server', suffix: ' tls' });
  const results: Result[] = [];
  for (const atOnce of stage.quick ? [16] : [16, 1, 64]) {
    const whole = atOnce === 16;
    const goals = (title: string) => withTls(title, whole);
    results.push(await measure({ protocol: 'smtp', atOnce }, whole ? all : fewer, goals));
  }
  await stage.clear();
  return results;
}

/** Every protocol with every number of sessions at once; in a quick run not each with each. */
function rounds({ quick }: Stage): Round[] {
  const all = PROTOCOLS.flatMap((protocol) => [16, 1, 64].map((atOnce) => ({ protocol, atOnce })));
  return quick ? all.filter(({ protocol, atOnce }) => protocol === 'smtp' || atOnce === 16) : all;
}

function isMain({ protocol, atOnce }: Round): boolean {
  return protocol === 'smtp' && atOnce === 16;
}

/** Measures rounds with the same processes: it knows which of them are warm. */
function measurer(stage: Stage, { kind, suffix }: { kind: string; suffix: string }) {
  const warm = new Set<string>();
  const seconds = stage.quick ? SECONDS / 2 : SECONDS;
  return async (
    { protocol, atOnce }: Round,
    { ways, notes }: Ways,
    goals: (title: string) => Goal[],
  ): Promise<Result> => {
    const title = `${protocol.toUpperCase()}, ${atOnce} at once, ${kind}`;
    stage.progress(`${title}: ${ways.length} arms`);
    const counts = new Map<string, number>();
    const arms = await interleave(ways, stage.rounds, async (way, warmUp) => {
      const key = `${way.name} ${protocol}`;
      if (way.isCompiled && !warm.has(key)) await sessionSample(stage, way, protocol, atOnce, FIRST);
      warm.add(key);
      const count = way.sessions ?? counts.get(way.name) ?? FEW;
      const sample = await sessionSample(stage, way, protocol, atOnce, count);
      if (warmUp) counts.set(way.name, Math.ceil((sample.rate ?? 0) * seconds));
      return sample;
    });
    const name = `sessions ${protocol} ${atOnce}${suffix}`;
    return { name, title, metrics: SESSION_METRICS, arms, goals: goals(title), notes };
  };
}
