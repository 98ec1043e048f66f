// Spares alone, with clocks that the test turns; preconnect.test.ts has the relay around them.

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Failure } from '../../../sidecar-auth/failure.ts';
import type { Dialled } from '../../../sidecar-auth/relay/dial.ts';
import {
  GREETING_LIMIT,
  SPARE_CHECK_MS,
  SPARE_MS,
  SPARE_PAUSE_MS,
  SPARES_LIMIT,
} from '../../../sidecar-auth/relay/limits.ts';
import { type GreetingState, greetingState } from '../../../sidecar-auth/relay/preconnect/greeting.ts';
import { Spares } from '../../../sidecar-auth/relay/preconnect/spares.ts';
import type { RelayTarget } from '../../../sidecar-auth/relay-target.ts';

const TARGET: RelayTarget = {
  destination: 'office-mail',
  protocol: 'smtp',
  host: 'mail.example',
  port: 587,
  connectTimeoutMs: 5_000,
  security: { kind: 'none' },
  hello: 'app.example',
  preconnect: true,
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function socket(): Socket {
  return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), allowHalfOpen: true }) as Socket;
}

/** Spares whose connections are `opened` in their order; `fails` of them can't be, `gone` are the routes that are. */
function world(fails = 0) {
  const opened: Socket[] = [];
  const gone = new Set<string>();
  let failures = fails;
  const spares = new Spares({
    open: async (): Promise<Dialled> => {
      if (failures-- > 0) throw new Failure('connect', 'refused');
      const one = socket();
      opened.push(one);
      return { socket: one, greeting: '220 hi\r\n' };
    },
    target: (id) => (gone.has(id) ? undefined : TARGET),
    log: { debug: () => {} },
  });
  return { spares, opened, gone };
}

/** For what runs without a clock: promises and streams. */
async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function renewed(spares: Spares, routeId: string, target = TARGET): Promise<void> {
  spares.renew(routeId, target);
  await settled();
}

function take(spares: Spares, routeId: string, signal = new AbortController().signal): Promise<Dialled | undefined> {
  return spares.take(routeId, signal);
}

describe('a spare connection', () => {
  it('is handed out once', async () => {
    const { spares, opened } = world();
    expect(await take(spares, 'a')).toBeUndefined();
    await renewed(spares, 'a');
    expect(await take(spares, 'b')).toBeUndefined();
    expect(await take(spares, 'a')).toEqual({ socket: opened[0], greeting: '220 hi\r\n' });
    expect(await take(spares, 'a')).toBeUndefined();
    vi.advanceTimersByTime(2 * SPARE_MS);
    expect(opened[0]?.destroyed).toBe(false);
  });

  it('is one a route, and none where the target wants none', async () => {
    const { spares, opened } = world();
    const { preconnect: _, ...without } = TARGET;
    await renewed(spares, 'a', without);
    expect(opened).toHaveLength(0);
    spares.renew('a', TARGET);
    spares.renew('a', TARGET);
    await renewed(spares, 'a');
    expect(opened).toHaveLength(1);
  });

  it('that is being opened is waited for, by one session', async () => {
    const { spares, opened } = world();
    spares.renew('a', TARGET);
    const [first, second] = [take(spares, 'a'), take(spares, 'a')];
    expect((await first)?.socket).toBe(opened[0]);
    expect(await second).toBeUndefined();
    await settled();
    expect(opened[0]?.destroyed).toBe(false);
    expect(await take(spares, 'a')).toBeUndefined();
  });

  it('that is being opened and fails leaves the session to itself, and has its pause', async () => {
    const { spares, opened } = world(1);
    spares.renew('a', TARGET);
    expect(await take(spares, 'a')).toBeUndefined();
    await renewed(spares, 'a');
    expect(opened).toHaveLength(0);
    vi.advanceTimersByTime(SPARE_PAUSE_MS + SPARE_CHECK_MS);
    await renewed(spares, 'a');
    expect(opened).toHaveLength(1);
  });

  it('that fails late takes nothing from its successor', async () => {
    const late = Promise.withResolvers<Dialled>();
    const answers = [late.promise, Promise.resolve({ socket: socket(), greeting: 'second' })];
    const spares = new Spares({
      open: () => answers.shift() as Promise<Dialled>,
      target: () => TARGET,
      log: { debug: () => {} },
    });
    spares.renew('a', TARGET);
    const first = take(spares, 'a');
    await renewed(spares, 'a');
    late.reject(new Failure('connect', 'refused'));
    expect(await first).toBeUndefined();
    expect((await take(spares, 'a'))?.greeting).toBe('second');
  });

  it('that is being opened is closed when the app that waits for it goes', async () => {
    const { spares, opened } = world();
    const app = new AbortController();
    spares.renew('a', TARGET);
    const taken = take(spares, 'a', app.signal);
    app.abort();
    expect(await taken).toBeUndefined();
    expect(opened[0]?.destroyed).toBe(true);
    await renewed(spares, 'a');
    const good = await take(spares, 'a', app.signal);
    expect(good?.socket.destroyed).toBe(false);
  });

  it('is closed when it is too old, and not opened again; a moment before, it is good', async () => {
    const { spares, opened } = world();
    await renewed(spares, 'a');
    await renewed(spares, 'b');
    vi.advanceTimersByTime(SPARE_MS - 1);
    expect(await take(spares, 'a')).toBeDefined();
    vi.advanceTimersByTime(1 + SPARE_CHECK_MS);
    await settled();
    expect(opened.map(({ destroyed }) => destroyed)).toEqual([false, true]);
    expect(await take(spares, 'b')).toBeUndefined();
    expect(opened).toHaveLength(2);
    await renewed(spares, 'b');
    expect(await take(spares, 'b')).toBeDefined();
  });

  it('is too old when the process was stopped meanwhile', async () => {
    const { spares, opened } = world();
    await renewed(spares, 'a');
    vi.setSystemTime(Date.now() + SPARE_MS);
    expect(await take(spares, 'a')).toBeUndefined();
    expect(opened[0]?.destroyed).toBe(true);
  });

  it("is closed when its route is gone; another route's is not", async () => {
    const { spares, opened, gone } = world();
    await renewed(spares, 'a');
    await renewed(spares, 'b');
    gone.add('a');
    vi.advanceTimersByTime(SPARE_CHECK_MS);
    expect(opened.map(({ destroyed }) => destroyed)).toEqual([true, false]);
  });

  it('is closed when its route went while it was opened', async () => {
    const { spares, opened, gone } = world();
    spares.renew('a', TARGET);
    gone.add('a');
    vi.advanceTimersByTime(SPARE_CHECK_MS);
    await settled();
    expect(opened[0]?.destroyed).toBe(true);
  });

  it.each<[string, (socket: Socket) => void]>([
    ['says something', (one) => one.push('421 bye\r\n')],
    ['ends its side', (one) => one.push(null)],
    ['is gone', (one) => one.destroy()],
  ])('is dropped when the server %s; the next session gets another', async (_name, act) => {
    const { spares, opened } = world();
    await renewed(spares, 'a');
    act(opened[0] as Socket);
    await settled();
    expect(opened[0]?.destroyed).toBe(true);
    expect(await take(spares, 'a')).toBeUndefined();
    await renewed(spares, 'a');
    expect((await take(spares, 'a'))?.socket).toBe(opened[1]);
  });

  it('is the session’s from then on: what the server then does ends nothing here', async () => {
    const { spares } = world();
    await renewed(spares, 'a');
    const taken = (await take(spares, 'a'))?.socket as Socket;
    taken.push('250 ok\r\n');
    taken.push(null);
    await settled();
    expect(taken.destroyed).toBe(false);
    expect(taken.read()?.toString()).toBe('250 ok\r\n');
  });

  it('that could not be opened is not tried again for a while', async () => {
    const { spares, opened } = world(1);
    await renewed(spares, 'a');
    await renewed(spares, 'b');
    expect(opened).toHaveLength(1);
    vi.advanceTimersByTime(SPARE_PAUSE_MS - 1);
    await renewed(spares, 'a');
    expect(opened).toHaveLength(1);
    vi.advanceTimersByTime(1 + SPARE_CHECK_MS);
    await renewed(spares, 'a');
    expect(opened).toHaveLength(2);
  });

  it('has a deadline while it is opened', async () => {
    let aborted = false;
    const spares = new Spares({
      open: (_target, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(new Failure('connect', 'late'));
          });
        }),
      target: () => TARGET,
      log: { debug: () => {} },
    });
    spares.renew('a', TARGET);
    vi.advanceTimersByTime(TARGET.connectTimeoutMs - 1);
    expect(aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(aborted).toBe(true);
    await settled();
    spares.close();
  });
});

it('there are at most so many', async () => {
  const { spares, opened } = world();
  for (let i = 0; i < 2 * SPARES_LIMIT; i++) spares.renew(`${i}`, TARGET);
  await settled();
  expect(opened).toHaveLength(SPARES_LIMIT);
  expect(await take(spares, '0')).toBeDefined();
  await renewed(spares, 'another');
  expect(opened).toHaveLength(SPARES_LIMIT + 1);
});

it('all are closed in the end, and no timer is left', async () => {
  const { spares, opened } = world();
  await renewed(spares, 'a');
  spares.renew('b', TARGET);
  spares.close();
  await settled();
  expect(opened.map(({ destroyed }) => destroyed)).toEqual([true, true]);
  expect(vi.getTimerCount()).toBe(0);
});

it('without spares there is no timer', async () => {
  const { spares } = world();
  await renewed(spares, 'a');
  await take(spares, 'a');
  vi.advanceTimersByTime(SPARE_CHECK_MS);
  expect(vi.getTimerCount()).toBe(0);
});

describe('a greeting', () => {
  it.each<[RelayTarget['protocol'], string, GreetingState]>([
    ['smtp', '', 'incomplete'],
    ['smtp', '220 mail ESMTP', 'incomplete'],
    ['smtp', '220 mail ESMTP\r', 'incomplete'],
    ['smtp', '220 mail ESMTP\r\n', 'whole'],
    ['smtp', '220\r\n', 'whole'],
    ['smtp', '220-no\r\n220-spam\r\n', 'incomplete'],
    ['smtp', '220-no\r\n220 spam\r\n', 'whole'],
    ['smtp', '220 mail\r\n2', 'unusable'],
    ['smtp', '220 mail\r\n220 mail\r\n', 'unusable'],
    ['smtp', '220-mail\r\n250 mail\r\n', 'unusable'],
    ['smtp', '220mail\r\n', 'unusable'],
    ['smtp', '421 busy\r\n', 'unusable'],
    ['smtp', '554 no\r\n', 'unusable'],
    ['imap', '* OK hi\r\n', 'whole'],
    ['imap', '* ok [CAPABILITY IMAP4rev1] hi\r\n', 'whole'],
    ['imap', '* OK hi\r\n* 1 EXISTS\r\n', 'unusable'],
    ['imap', '* PREAUTH hi\r\n', 'unusable'],
    ['imap', '* BYE busy\r\n', 'unusable'],
    ['imap', '* OKAY\r\n', 'unusable'],
    ['pop3', '+OK <1@mail>\r\n', 'whole'],
    ['pop3', '+OK\r\n+OK\r\n', 'unusable'],
    ['pop3', '-ERR busy\r\n', 'unusable'],
    ['pop3', '220 mail\r\n', 'unusable'],
  ])('%s %j is %s', (protocol, text, state) => {
    expect(greetingState(protocol, text)).toBe(state);
  });

  it('is at most so long', () => {
    const line = (length: number) => `220 ${'x'.repeat(length - 6)}\r\n`;
    expect(greetingState('smtp', line(GREETING_LIMIT))).toBe('whole');
    expect(greetingState('smtp', line(GREETING_LIMIT + 1))).toBe('unusable');
  });
});
