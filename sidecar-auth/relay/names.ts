import type { Resolve, Resolved } from '../route/resolve.ts';
import { NAMES_LIMIT } from './limits.ts';

/**
 * Keeps a name's addresses for as long as the resolver says, as the filter does for direct routes: to ask the system at each connection
 * costs a thread's work and two switches to it. Failures are not kept.
 */
export function keepNames(resolve: Resolve, now = Date.now): Resolve {
  /** The oldest first. */
  const kept = new Map<string, { resolved: Resolved; until: number }>();
  return async (host) => {
    const known = kept.get(host);
    if (known && now() < known.until) return known.resolved;
    const resolved = await resolve(host);
    kept.delete(host);
    kept.set(host, { resolved, until: now() + resolved.keep * 1000 });
    for (const [oldest] of kept) {
      if (kept.size <= NAMES_LIMIT) break;
      kept.delete(oldest);
    }
    return resolved;
  };
}
