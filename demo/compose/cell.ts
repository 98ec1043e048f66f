import { begin, beginWithToken, sendMail } from '../../test/live/apps.ts';
import { retrieve } from '../../test/live/mailbox.ts';
import { Wire } from '../../test/live/wire.ts';
import type { Place } from '../places.ts';
import { type Handout, tokenFor } from './handout.ts';

/** What the whole demo's mailbox holds from the start. */
const EXPECTED = 'Postern did it for you.';

/** Mail through one cell, as an application does it: sent by SMTP, or the first message read. Throws an Error with the answer that was not right. */
export async function playCell(place: Place, handout: Handout): Promise<void> {
  const wire = await Wire.open(place.port);
  try {
    const { user } = handout;
    const token = tokenFor(place, handout);
    if (token === undefined) await begin(wire, place.protocol, 'silent');
    else await beginWithToken(wire, place.protocol, user, token);
    if (place.protocol === 'smtp') await sendMail(wire, 'silent', user, messageFrom(place));
    else demandWelcome(place.protocol === 'imap' ? await firstByImap(wire) : await retrieve(wire, 'retr 1'));
  } finally {
    wire.close();
  }
}

function messageFrom({ destination }: Place): string {
  return `Subject: hello from ${destination}\r\n\r\nSent without a login through ${destination}.\r\n`;
}

async function firstByImap(wire: Wire): Promise<string> {
  await wire.ask('3 SELECT INBOX', /^3 OK.*\r\n/m);
  return wire.ask('5 FETCH 1 BODY[TEXT]', /^5 OK.*\r\n/m);
}

function demandWelcome(text: string): void {
  if (!text.includes(EXPECTED))
    throw new Error(`the first message is not the demo's: ${JSON.stringify(text.slice(0, 200))}`);
}
