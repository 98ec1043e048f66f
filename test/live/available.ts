import { describe } from 'vitest';
import { skipReason } from './skip-reason.ts';

/** `describe` for cases that need the mail servers. Where they can't run, the title says why it was skipped. */
export function describeLive(name: string, cases: () => void): void {
  const reason = skipReason();
  describe.skipIf(reason)(reason ? `${name} (skipped: ${reason})` : name, cases);
}
