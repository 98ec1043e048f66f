import { Wire } from './envoy-wire.ts';

/** Milliseconds: the deadline of the test's FILE, the filter's farewell, a busy machine. */
const PATIENCE = 20_000;

/** What an app sees of a failure. */
export interface Seen {
  /** The last line that it had said; empty where the failure came in place of the greeting. */
  after: string;
  /** What came after that. */
  received: string;
  end: 'closed' | 'cut' | 'open';
}

/** An app that says its next line after each answer, and stays until the other side ends or, where that `staysOpen`, has answered. */
export async function see(where: { host: string; port: number }, says: string[], staysOpen = false): Promise<Seen> {
  const wire = await Wire.open(where);
  try {
    return await talk(wire, says, staysOpen);
  } finally {
    wire.destroy();
  }
}

async function talk(wire: Wire, says: string[], staysOpen: boolean): Promise<Seen> {
  let after = '';
  for (const line of says) {
    if (!(await answered(wire)) || wire.ended || isError(wire.received)) break;
    wire.take();
    wire.says(Buffer.from(`${line}\r\n`));
    after = line;
  }
  await (staysOpen ? answered(wire) : wire.until(() => wire.ended, PATIENCE));
  return { after, received: wire.received, end: wire.broken ? 'cut' : wire.ended ? 'closed' : 'open' };
}

function answered(wire: Wire): Promise<boolean> {
  return wire.until(() => wire.received.endsWith('\r\n') || wire.ended, PATIENCE);
}

export function isError(received: string): boolean {
  return received.includes(' postern: ');
}
