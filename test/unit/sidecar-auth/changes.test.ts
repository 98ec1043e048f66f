import { expect, it, vi } from 'vitest';
import { Changes } from '../../../sidecar-auth/contract/changes.ts';
import type { Line } from '../../../sidecar-auth/contract/lines.ts';

/** The answer if there is one at once. */
function asked(changes: Changes, since: string): Line[] | undefined {
  let answer: Line[] | undefined;
  changes.poll(since, (lines) => {
    answer = lines;
  })();
  return answer;
}

const now = (changes: Changes) => asked(changes, '0.0')?.[0]?.[1] ?? '';

it('answers an unknown BOOT, or a number that it never gave, with all', () => {
  const changes = new Changes();
  for (const since of ['0.0', '', 'other.0', `${changes.boot}.1`, `${changes.boot}.x`, `x${changes.boot}.0`]) {
    expect(asked(changes, since)).toEqual([
      ['since', `${changes.boot}.0`],
      ['all', '1'],
    ]);
  }
  expect(changes.boot).toMatch(/^[a-zA-Z0-9]{8,32}$/);
  expect(new Changes().boot).not.toBe(changes.boot);
});

it('waits, and answers everyone at the first change', () => {
  const changes = new Changes();
  const since = now(changes);
  const answers: Line[][] = [];
  changes.poll(since, (lines) => answers.push(lines));
  changes.poll(since, (lines) => answers.push(lines));
  expect([answers.length, changes.waiting]).toEqual([0, 2]);
  changes.announce([]);
  expect(answers).toEqual([]);
  changes.announce(['smtp:a', 'imap:b']);
  const expected = [
    ['since', `${changes.boot}.1`],
    ['listener', 'smtp:a'],
    ['listener', 'imap:b'],
  ];
  expect(answers).toEqual([expected, expected]);
  expect(changes.waiting).toBe(0);
});

it('tells each changed listener once, and only what came later', () => {
  const changes = new Changes();
  changes.announce(['smtp:a']);
  const since = now(changes);
  expect(asked(changes, since)).toBeUndefined();
  changes.announce(['smtp:b']);
  changes.announce(['smtp:b']);
  expect(asked(changes, since)).toEqual([
    ['since', `${changes.boot}.3`],
    ['listener', 'smtp:b'],
  ]);
});

it('says all to who missed more than is remembered, and not to who did not', () => {
  const changes = new Changes();
  changes.announce(['smtp:first']);
  const early = now(changes);
  for (let i = 0; i < 499; i++) changes.announce([`smtp:${i}`]);
  expect(asked(changes, early)?.length).toBe(1 + 499);
  changes.announce(['smtp:x', 'smtp:y']);
  expect(asked(changes, early)?.[1]).toEqual(['all', '1']);
  expect(asked(changes, `${changes.boot}.2`)?.[1]).toEqual(['listener', 'smtp:1']);
});

it('a change of more listeners than are remembered is all for everyone who waits', () => {
  const changes = new Changes();
  let answer: Line[] = [];
  changes.poll(now(changes), (lines) => {
    answer = lines;
  });
  changes.announce(Array.from({ length: 501 }, (_, i) => `smtp:${i}`));
  expect(answer).toEqual([
    ['since', `${changes.boot}.1`],
    ['all', '1'],
  ]);
});

it('answers unchanged after 50 s, and not before', () => {
  vi.useFakeTimers();
  try {
    const changes = new Changes();
    const answers: Line[][] = [];
    changes.poll(now(changes), (lines) => answers.push(lines));
    vi.advanceTimersByTime(49_999);
    expect(answers).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(answers).toEqual([[['since', `${changes.boot}.0`]]]);
  } finally {
    vi.useRealTimers();
  }
});
