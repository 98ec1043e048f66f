import { chmod, mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
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

describe('a folder of grants that is not its own', () => {
  const OWNER = { destination: 'd', user: 'u', tokenServiceURL: 'https://t.example/', clientId: 'c' };

  async function folder(mode: number, link = false): Promise<string> {
    const path = join(await temporaryFolder(), 'grants');
    await mkdir(path);
    await chmod(path, mode);
    if (link) await symlink(path, `${path}-link`);
    return link ? `${path}-link` : path;
  }

  it.each([
    [0o770, false],
    [0o702, false],
    [0o777, true],
  ])('is refused where others may write: mode %o, through a link: %s', async (mode, link) => {
    const path = await folder(mode, link);
    await expect(openGrants({ kind: 'directory', path, chosen: true })).rejects.toMatchObject({
      code: 'token',
      retry: false,
      message: expect.stringContaining('others may write to it'),
    });
  });

  it.each([
    [0o700, false],
    [0o755, true],
  ])('is taken where they may not: mode %o, through a link: %s', async (mode, link) => {
    const path = await folder(mode, link);
    const grants = await openGrants({ kind: 'directory', path, chosen: true });
    await grants.storeLogin(OWNER, { accessToken: 'a', expiresAt: 0 });
    expect(grants.hasLogin(OWNER)).toBe(true);
  });

  it('is refused where it belongs to another user', async () => {
    const path = await folder(0o700);
    const uid = process.getuid?.() ?? 0;
    const other = vi.spyOn(process as { getuid: () => number }, 'getuid').mockReturnValue(uid + 1);
    onTestFinished(() => other.mockRestore());
    await expect(openGrants({ kind: 'directory', path, chosen: true })).rejects.toThrow('belongs to another user');
  });

  it('stops only what needs a grant where nobody has chosen it', async () => {
    const path = await folder(0o700);
    await (await openGrants({ kind: 'directory', path })).storeLogin(OWNER, { accessToken: 'a', expiresAt: 0 });
    await chmod(path, 0o777);
    const grants = await openGrants({ kind: 'directory', path });
    expect(grants.hasLogin(OWNER)).toBe(false);
    await expect(grants.login(OWNER, () => expect.fail('is asked'))).rejects.toThrow('others may write to it');
  });
});
