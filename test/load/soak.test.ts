import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LoadClient } from './processes.ts';
import { descriptorLimit, LoadStage, WORKERS } from './stage.ts';

/** Sessions one after the other; POSTERN_SOAK lowers it for a quick try. */
const SEQUENCE = Number(process.env.POSTERN_SOAK ?? 100_000);
/** The filter's memory is what it will be from here on. */
const WARM = 1000;
const TOGETHER = 3000;
const COLD = 200;
/** Octets of a VM's memory: 2 KiB for each session that is in its login, if one worker got them all, and as much again until they are collected. */
const MEMORY = TOGETHER * 2 * 2048 + (1 << 20);
/** Seconds for which the route to an IP literal may be kept. */
const KEEP = 120;
/** Envoy has two descriptors a session, and a few hundred of its own. */
const DESCRIPTORS = TOGETHER * 2 + 1000;
/** Milliseconds; 10 a session, where about one is needed, and what is started. */
const TIMEOUT = 120_000 + SEQUENCE * 10;

const client = new LoadClient();
afterAll(() => client.stop());

const descriptors = await descriptorLimit();

describe('many connections through Envoy', () => {
  let stage: LoadStage;
  let started: number;
  beforeAll(async () => {
    stage = await LoadStage.start();
    started = Date.now();
  });
  afterAll(() => stage?.stop());

  /** sidecar-auth is asked once per worker, destination and cache time. */
  async function expectFewQuestions(): Promise<void> {
    const most = WORKERS * (Math.floor((Date.now() - started) / 1000 / KEEP) + 1);
    const asked = Object.values(await stage.asked());
    expect(asked).toHaveLength(stage.ports.length);
    for (const count of asked) {
      expect(count).toBeGreaterThanOrEqual(WORKERS);
      expect(count).toBeLessThanOrEqual(most);
    }
  }

  test(`${SEQUENCE} one after the other, over two destinations`, { timeout: TIMEOUT }, async () => {
    const run = (count: number, progress?: (done: number) => void) =>
      client.run({ ports: stage.ports, count, together: false }, progress);
    expect(await run(WARM)).toEqual({ failed: 0, errors: [] });
    const memory = await stage.memory();
    expect(Object.keys(memory)).toHaveLength(WORKERS);

    const rest = SEQUENCE - WARM;
    const begun = Date.now();
    const progress = (done: number) => {
      console.log(`soak: ${done + WARM} of ${SEQUENCE} sessions, ${((Date.now() - begun) / done).toFixed(2)} ms each`);
    };
    expect(await run(rest, progress)).toEqual({ failed: 0, errors: [] });

    expect(await stage.memory()).toEqual(memory);
    await expectFewQuestions();
    const half = SEQUENCE / 2;
    const each = { connections: half, logins: half, mails: half, quits: half, wrongLogins: 0, violations: 0 };
    expect(await stage.servers.seen()).toMatchObject([each, each]);
  });

  describe.skipIf(descriptors < DESCRIPTORS)(`with ${descriptors} descriptors (${DESCRIPTORS} are needed)`, () => {
    test(`${TOGETHER} at once, over two destinations`, { timeout: TIMEOUT }, async () => {
      const before = await stage.servers.seen();
      const result = await client.run({ ports: stage.ports, count: TOGETHER, together: true });
      expect(result).toEqual({ failed: 0, errors: [] });

      const seen = await stage.servers.seen();
      for (const [index, { connections, logins, mails, quits }] of before.entries()) {
        const half = TOGETHER / 2;
        const counted = { connections: connections + half, logins: logins + half, mails: mails + half };
        const never = { wrongLogins: 0, violations: 0 };
        expect(seen[index]).toEqual({ ...counted, ...never, quits: quits + half, mostAtOnce: half });
      }
      await expectFewQuestions();
      for (const octets of Object.values(await stage.memory())) expect(octets).toBeLessThanOrEqual(MEMORY);
    });
  });
});

describe('many connections that arrive cold', () => {
  let stage: LoadStage | undefined;
  afterEach(() => stage?.stop());

  test(`${COLD} at once share one request a worker`, { timeout: TIMEOUT }, async () => {
    stage = await LoadStage.start();
    const { ports, postern } = stage;
    // While sidecar-auth stands still, no answer can come before the last connection is there.
    const helper = postern.helperPid();
    process.kill(helper, 'SIGSTOP');
    const result = client.run({ ports: ports.slice(0, 1), count: COLD, together: true });
    try {
      await expect.poll(() => stage?.open(), { timeout: 5000 }).toBe(COLD);
    } finally {
      process.kill(helper, 'SIGCONT');
    }
    expect(await result).toEqual({ failed: 0, errors: [] });
    // What they shared is kept for those that come later.
    const later = await client.run({ ports: ports.slice(0, 1), count: COLD, together: false });
    expect(later).toEqual({ failed: 0, errors: [] });
    expect(Object.values(await stage.asked())).toEqual([WORKERS]);
  });
});
