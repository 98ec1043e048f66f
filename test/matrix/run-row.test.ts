import { expect, it } from 'vitest';
import { OTHER_TENANT } from './place.ts';
import type { Fault, Row } from './rows.ts';
import { lengths, sawFault } from './run-row.ts';

/** The logs of a stage, and what a twin of each fault leaves in them. */
function stage() {
  const lines: string[] = [];
  const provider = { log: [] as object[], checks: [] as object[], refusals: [] as object[] };
  const proxy = { log: [] as object[] };
  const witnesses = { provider, proxy, dovecot: { log: () => lines }, postfix: { log: () => [] } };
  const leave: Record<Fault, () => unknown> = {
    'wrong password': () => lines.push('auth failed, user=<twin@example.test>'),
    'wrong audience': () => {
      provider.log.push({ client: 'twin', tokenId: 't' });
      provider.checks.push({ tokenId: 't', active: false });
    },
    'wrong client secret': () => provider.refusals.push({ client: 'twin', error: 'invalid_client' }),
    'wrong tenant': () => proxy.log.push({ tenant: OTHER_TENANT, code: 2 }),
  };
  return { witnesses: witnesses as unknown as Parameters<typeof sawFault>[0], leave };
}

const FAULTS: Fault[] = ['wrong password', 'wrong audience', 'wrong client secret', 'wrong tenant'];

it.each(FAULTS)('%s: what another twin left before is no witness', (fault) => {
  const { witnesses, leave } = stage();
  const twin = { name: 'twin', user: 'twin@example.test', row: { fault } as Row };
  leave[fault]();
  const before = lengths(witnesses);
  expect(sawFault(witnesses, twin, before)).toBe(false);
  leave[fault]();
  expect(sawFault(witnesses, twin, before)).toBe(true);
});
