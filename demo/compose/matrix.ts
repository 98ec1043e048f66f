// The container `matrix` of docker-compose.yml: plays all 36 cells through Postern's published ports, and says what a person may try.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Place } from '../places.ts';
import { playCell } from './cell.ts';
import { type Handout, handoutFile } from './handout.ts';
import { page } from './page.ts';

const { values } = parseArgs({ options: { config: { type: 'string', default: '/etc/postern' } } });
/** Milliseconds until Envoy's listeners must stand; it compiles the filter meanwhile. */
const READY_TIMEOUT = 60_000;

const handout = JSON.parse(readFileSync(handoutFile(values.config), 'utf8')) as Handout;
await untilOpen(handout.places);
const wrong = new Map<Place, string>();
for (const place of handout.places) {
  const problem = await playCell(place, handout).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (problem !== undefined) wrong.set(place, problem);
  console.log(
    `${problem === undefined ? 'ok ' : 'BAD'} ${place.port} ${place.destination}${problem ? `: ${problem}` : ''}`,
  );
}
console.log(page(handout, wrong));
process.exitCode = wrong.size > 0 ? 1 : 0;

async function untilOpen(places: Place[]): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT;
  for (const { port } of places) {
    while (!(await isOpen(port))) {
      if (Date.now() > deadline)
        throw new Error(`nobody listens on port ${port}; \`docker compose logs envoy\` may say why`);
      await sleep(200);
    }
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
