import { describe, expect, test } from 'vitest';
import { Ports } from '../../../sidecar-auth/kubernetes/operator/ports.ts';

const HOUR = 60 * 60 * 1000;
const RANGE = { first: 20000, last: 20002 };

describe('ports', () => {
  test('are given out from the lowest on, none twice', () => {
    const ports = new Ports(RANGE);
    expect(ports.free(2, 0)).toEqual([20000, 20001]);
    ports.take('a/b', 20000);
    expect(ports.free(5, 0)).toEqual([20001, 20002]);
    expect(ports.of('a/b')).toBe(20000);
    expect(ports.holder(20000)).toBe('a/b');
  });

  test('that were freed rest for 24 hours, also after a restart', () => {
    const ports = new Ports(RANGE);
    ports.take('a/b', 20000);
    ports.retire(20000, 0);
    expect(ports.of('a/b')).toBeUndefined();
    const again = new Ports(RANGE, ports.resting(23 * HOUR));
    expect(again.free(1, 24 * HOUR - 1)).toEqual([20001]);
    expect(again.free(1, 24 * HOUR)).toEqual([20000]);
    expect(again.resting(24 * HOUR).size).toBe(0);
  });

  test('that rest go to who had them, and to nobody else', () => {
    const ports = new Ports(RANGE);
    ports.take('a/b', 20000);
    ports.retire(20000, 0);
    expect(ports.rested('a/c', 1)).toBeUndefined();
    expect(ports.rested('a/b', 1)).toBe(20000);
    expect(ports.rested('a/b', 24 * HOUR)).toBeUndefined();
    const again = new Ports(RANGE, ports.resting(HOUR));
    again.restore('a/c', 20000, HOUR);
    expect(again.of('a/c')).toBeUndefined();
    again.restore('a/b', 20000, HOUR);
    expect(again.of('a/b')).toBe(20000);
    expect(again.resting(HOUR).size).toBe(0);
  });

  test('of a key are its own and those of its subscribers, not those of a longer name', () => {
    const ports = new Ports(RANGE);
    ports.take('a/b', 20000);
    ports.take('a/b red', 20001);
    ports.take('a/bc', 20002);
    expect(ports.heldBy('a/b')).toEqual([
      ['a/b', 20000],
      ['a/b red', 20001],
    ]);
  });

  test('are restored for the first who claims them, not while they rest, and only in the range', () => {
    const ports = new Ports(RANGE, new Map([[20001, { owner: 'a/other', since: 0 }]]));
    ports.restore('a/first', 20000, 1);
    ports.restore('a/second', 20000, 1);
    ports.restore('a/rests', 20001, 1);
    ports.restore('a/elsewhere', 22, 1);
    ports.restore('a/first', 20002, 1);
    expect(['a/first', 'a/second', 'a/rests', 'a/elsewhere'].map((owner) => ports.of(owner))).toEqual([
      20000,
      undefined,
      undefined,
      undefined,
    ]);
    expect(ports.holder(20002)).toBeUndefined();
  });
});
