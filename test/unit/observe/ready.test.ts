import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type EnvoyPlace, type Progress, Readiness } from '../../../sidecar-auth/observe/ready.ts';
import { tempFolder } from '../sidecar-auth/files.ts';
import { FakeAdmin, healthy } from './fake-admin.ts';

const WELL = { started: true, written: true, draining: false };

const notReady = (progress: Progress, envoy?: EnvoyPlace) => new Readiness(() => progress, envoy).reasons();

async function place(answers: FakeAdmin['answers'], ...written: string[]) {
  const listenersFile = join(tempFolder(), 'listeners.json');
  writeFileSync(listenersFile, JSON.stringify({ resources: written.map((name) => ({ name })) }));
  const admin = await FakeAdmin.start(answers);
  return { adminSocket: admin.socket, listenersFile, admin };
}

it('without an Envoy of its own, sidecar-auth speaks for itself', async () => {
  expect(await notReady(WELL)).toEqual([]);
});

it.each([
  [{ ...WELL, started: false }, ['sidecar-auth is starting']],
  [{ ...WELL, written: false }, ["Envoy's listeners are not written"]],
  [{ ...WELL, draining: true }, ['it is draining']],
])('%o: Envoy is not even asked', async (progress, reasons) => {
  const { admin, ...envoy } = await place(healthy());
  expect(await notReady(progress, envoy)).toEqual(reasons);
  expect(admin.asked).toEqual([]);
});

it('ready once Envoy is live and has every listener open', async () => {
  const { admin, ...envoy } = await place(
    healthy('127.0.0.1:1', '[::1]:2', 'postern-fallback-smtp'),
    '127.0.0.1:1',
    '[::1]:2',
  );
  expect(await notReady(WELL, envoy)).toEqual([]);
  expect(admin.asked).toContain('/ready');
});

it.each([
  ['draining or starting', { '/ready': [503, 'DRAINING\n'] }, 'Envoy answers 503 to /ready'],
  ['no workers', { '/stats': [200, 'listener_manager.workers_started: 0\n'] }, "Envoy's workers have not started"],
] as const)('Envoy: %s', async (_, answers, reason) => {
  const { admin: __, ...envoy } = await place(
    { ...healthy('a'), ...(answers as unknown as FakeAdmin['answers']) },
    'a',
  );
  expect(await notReady(WELL, envoy)).toEqual([reason]);
});

it('a listener that Envoy has not opened is named, and many are not all named', async () => {
  const { admin: _, ...one } = await place(healthy('a'), 'a', 'b');
  expect(await notReady(WELL, one)).toEqual(['Envoy has not opened b']);
  const names = Array.from({ length: 9 }, (_, index) => `l${index}`);
  const { admin: __, ...many } = await place(healthy(), ...names);
  expect((await notReady(WELL, many)).at(-1)).toBe('nor 4 more');
});

it('an Envoy that is not there, or answers nothing', async () => {
  const { admin, ...envoy } = await place({}, 'a');
  expect(await notReady(WELL, { ...envoy, adminSocket: `${envoy.adminSocket}.not` })).toEqual([
    'Envoy does not answer (ENOENT)',
  ]);
  expect(await notReady(WELL, envoy)).toEqual(['Envoy does not answer to /ready']);
  expect(admin.asked).toEqual(['/ready']);
});

it('a new listener that is not open yet does not take the others out of service, until Envoy is another', async () => {
  const { admin, ...envoy } = await place(healthy('a'), 'a');
  const readiness = new Readiness(() => WELL, envoy);
  expect(await readiness.reasons()).toEqual([]);
  writeFileSync(envoy.listenersFile, JSON.stringify({ resources: [{ name: 'a' }, { name: 'b' }] }));
  expect(await readiness.reasons()).toEqual([]);
  admin.answers = { ...healthy('a'), '/ready': [503, ''] };
  expect(await readiness.reasons()).toEqual(['Envoy answers 503 to /ready']);
  admin.answers = healthy('a');
  expect(await readiness.reasons()).toEqual(['Envoy has not opened b']);
  admin.answers = healthy('a', 'b');
  expect(await readiness.reasons()).toEqual([]);
});
