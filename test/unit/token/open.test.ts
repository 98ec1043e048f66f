import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openGrants } from '../../../sidecar-auth/token/grants/open.ts';
import { temporaryFolder } from './world.ts';

it('makes the folder, for nobody else', async () => {
  const path = join(await temporaryFolder(), 'state', 'grants');
  await openGrants({ kind: 'directory', path });
  expect((await stat(path)).mode & 0o777).toBe(0o700);
});

it('says which folder can not be used', async () => {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, '');
  await expect(openGrants({ kind: 'directory', path, chosen: true })).rejects.toMatchObject({
    code: 'token',
    message: expect.stringMatching(/file can't be used \((EEXIST|ENOTDIR)\)$/),
  });
});

it('says that a Secret needs a pod', async () => {
  const place = { kind: 'secret', namespace: 'mail', name: 'grants' } as const;
  await expect(openGrants(place, {})).rejects.toThrow('grants.secret needs a Kubernetes pod');
});
