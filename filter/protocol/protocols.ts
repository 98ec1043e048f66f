import { Bytes } from './bytes';
import { ImapMachine } from './imap/machine';
import { Machine } from './machine';
import { Pop3Machine } from './pop3/machine';
import { SmtpMachine } from './smtp/machine';
import { Terms } from './terms';

/** The machine for `smtp`, `imap` or `pop3`; anything else was refused when the listener was configured. */
export function machineFor(protocol: Bytes, terms: Terms): Machine {
  if (protocol.equals('imap')) return new ImapMachine(terms);
  if (protocol.equals('pop3')) return new Pop3Machine(terms);
  return new SmtpMachine(terms);
}

export function isProtocol(name: Bytes): bool {
  return name.equals('smtp') || name.equals('imap') || name.equals('pop3');
}
