import type { Protocol } from '../../failure.ts';
import { GREETING_LIMIT } from '../limits.ts';

/** `unusable`: too long, with something behind it, or none that lets a client log in. What it says then is for the session that dials itself. */
export type GreetingState = 'incomplete' | 'whole' | 'unusable';

interface Form {
  /** Each line of a greeting after which a login can follow. */
  line: RegExp;
  /** A line after which another one comes. */
  goesOn: RegExp;
}

const NEVER = /(?!)/;

/** RFC 5321 section 4.2, RFC 9051 section 7.1.1 (no PREAUTH: somebody is logged in there), RFC 1939 section 4. */
const FORMS: Record<Protocol, Form> = {
  smtp: { line: /^220(?:[ -]|$)/, goesOn: /^220-/ },
  imap: { line: /^\* OK(?: |$)/i, goesOn: NEVER },
  pop3: { line: /^\+OK(?: |$)/i, goesOn: NEVER },
};

/** Of all that the server has sent so far, latin1. */
export function greetingState(protocol: Protocol, text: string): GreetingState {
  if (text.length > GREETING_LIMIT) return 'unusable';
  const { line, goesOn } = FORMS[protocol];
  const lines = text.split('\r\n');
  const unfinished = lines.pop();
  if (!lines.every((one) => line.test(one))) return 'unusable';
  const last = lines.findIndex((one) => !goesOn.test(one));
  if (last < 0) return 'incomplete';
  return last === lines.length - 1 && unfinished === '' ? 'whole' : 'unusable';
}
