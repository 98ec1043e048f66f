import { expect, test } from 'vitest';
import { type Goal, interleave, ratios, reached, spread } from '../../../bench/result.ts';
import { SESSIONS } from './measurement.ts';

test('a spread, of an odd and of an even number of values', () => {
  expect(spread([30, 4, 100])).toEqual({ min: 4, median: 30, max: 100 });
  expect(spread([4, 1, 3, 2])).toEqual({ min: 1, median: 2.5, max: 4 });
  expect(spread([]).median).toBeNaN();
});

test('ratios are taken within a round', () => {
  expect(ratios(SESSIONS, 'cpu', 'postern', 'envoy')).toEqual([1.1, 1, 1.2]);
  expect(ratios(SESSIONS, 'cpu', 'postern', 'nginx')).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});

test('a goal is held against the median, and its limit is reached', () => {
  const ok = (goal: Partial<Goal>) =>
    reached(SESSIONS, { text: '', metric: 'cpu', arm: 'postern', base: 'envoy', ...goal }).ok;
  expect([1.1, 1.09].map((atMost) => ok({ atMost }))).toEqual([true, false]);
  expect([1.1, 1.11].map((atLeast) => ok({ atLeast }))).toEqual([true, false]);
  expect(ok({ base: 'nginx', atMost: 1000 })).toBe(false);
});

test('a goal without a base is about the figure itself', () => {
  const { value, ok } = reached(SESSIONS, { text: '', metric: 'cpu', arm: 'postern', atMost: 220 });
  expect({ value, ok }).toEqual({ value: { min: 120, median: 220, max: 400 }, ok: true });
});

test('arms take turns, every other round backwards, and the first round only warms up', async () => {
  const order: string[] = [];
  const samples = await interleave([{ name: 'a' }, { name: 'b' }], 2, async ({ name }, warmUp) => {
    order.push(`${name}${warmUp ? ' warms up' : ''}`);
    return { turn: order.length };
  });
  expect(order).toEqual(['a warms up', 'b warms up', 'b', 'a', 'a', 'b']);
  expect(samples).toEqual({ a: [{ turn: 4 }, { turn: 5 }], b: [{ turn: 3 }, { turn: 6 }] });
});
