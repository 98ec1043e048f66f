import { bulk } from './cases/bulk.ts';
import { callbacks } from './cases/callbacks.ts';
import { idle } from './cases/idle.ts';
import { latency } from './cases/latency.ts';
import { listeners } from './cases/listeners.ts';
import { onPremise } from './cases/on-premise.ts';
import { sessions } from './cases/sessions.ts';
import { starttls } from './cases/starttls.ts';
import type { Case } from './stage.ts';

export interface Planned {
  case: Case;
  /** About how long it takes on two processors, whole and quick: for the estimate that a run shows. */
  seconds: number;
  quickSeconds: number;
}

/** In the order in which they are run and shown. */
export const CASES: Planned[] = [
  { case: sessions, seconds: 330, quickSeconds: 80 },
  { case: latency, seconds: 120, quickSeconds: 15 },
  { case: bulk, seconds: 90, quickSeconds: 25 },
  { case: idle, seconds: 150, quickSeconds: 25 },
  { case: onPremise, seconds: 120, quickSeconds: 30 },
  { case: starttls, seconds: 150, quickSeconds: 40 },
  { case: listeners, seconds: 90, quickSeconds: 15 },
  { case: callbacks, seconds: 90, quickSeconds: 15 },
];
