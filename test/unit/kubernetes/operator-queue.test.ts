import { afterEach, expect, test, vi } from 'vitest';
import { WorkQueue } from '../../../sidecar-auth/kubernetes/operator/queue.ts';

let queue: WorkQueue;

afterEach(() => queue.close());

/** Work that ends when the test says so. */
function handWork(workers = 2) {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const waits: number[] = [];
  queue = new WorkQueue({
    workers,
    onError: (_, __, waitMs) => waits.push(waitMs),
    work: (key) => {
      begun.push(key);
      return new Promise((resolve, reject) => ends.set(key, (error) => (error ? reject(error) : resolve())));
    },
  });
  return { begun, waits, end: (key: string, error?: Error) => ends.get(key)?.(error) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('a key that comes often is worked on once', async () => {
  const { begun } = handWork();
  for (let i = 0; i < 5; i++) queue.add('a');
  await settled();
  expect(begun).toEqual(['a']);
});

test('a key that comes while it is worked on is worked on again, not at the same time', async () => {
  const { begun, end } = handWork();
  queue.add('a');
  await settled();
  queue.add('a');
  await settled();
  expect(begun).toEqual(['a']);
  end('a');
  await settled();
  expect(begun).toEqual(['a', 'a']);
});

test('no more are worked on at once than there are workers', async () => {
  const { begun, end } = handWork(2);
  for (const key of ['a', 'b', 'c']) queue.add(key);
  await settled();
  expect(begun).toEqual(['a', 'b']);
  end('b');
  await settled();
  expect(begun).toEqual(['a', 'b', 'c']);
});

test('what fails comes again, later each time, and at once where it changes', async () => {
  const { begun, waits, end } = handWork();
  for (let i = 0; i < 3; i++) {
    queue.add('a');
    await settled();
    end('a', new Error('no'));
    await settled();
  }
  expect(waits).toEqual([200, 400, 800]);
  expect(begun).toEqual(['a', 'a', 'a']);
  queue.add('a');
  await settled();
  end('a');
  await settled();
  queue.add('a');
  await settled();
  end('a', new Error('again'));
  await settled();
  expect(waits.at(-1)).toBe(200);
});

test('comes again by itself after its wait', async () => {
  const { begun, end } = handWork();
  queue.add('a');
  await settled();
  end('a', new Error('no'));
  await vi.waitFor(() => expect(begun).toEqual(['a', 'a']));
});

test('of several times for a key the last one counts', async () => {
  const { begun } = handWork();
  for (let i = 0; i < 5; i++) queue.addAfter('a', 20);
  await vi.waitFor(() => expect(begun).toEqual(['a']));
});

test('nothing begins after the end', async () => {
  const { begun } = handWork();
  queue.close();
  queue.add('a');
  await settled();
  expect(begun).toEqual([]);
});
