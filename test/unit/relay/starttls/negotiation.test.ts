import { describe, expect, it } from 'vitest';
import { Failure, type Protocol } from '../../../../sidecar-auth/failure.ts';
import { Negotiation } from '../../../../sidecar-auth/relay/starttls/negotiation.ts';

type Cut = (bytes: Buffer) => Buffer[];
const whole: Cut = (bytes) => [bytes];
const byteByByte: Cut = (bytes) => [...bytes].map((byte) => Buffer.from([byte]));
const splitAt =
  (offset: number): Cut =>
  (bytes) =>
    offset < bytes.length ? [bytes.subarray(0, offset), bytes.subarray(offset)] : [bytes];

/** `answers[0]` is the greeting, each further one comes after one more command. Ends with `tls`, a failure's code, or `waits`. */
function play(protocol: Protocol, answers: string[], cut: Cut): string[] {
  const negotiation = new Negotiation(protocol, 'app.example');
  const told: string[] = [];
  let agreed = false;
  try {
    for (const answer of answers) {
      for (const piece of cut(Buffer.from(answer, 'latin1'))) {
        const { send, tls } = negotiation.push(piece);
        if (send !== undefined) told.push(send.replace(/\r\n$/, ''));
        agreed ||= tls;
      }
    }
    return [...told, agreed ? 'tls' : 'waits'];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    expect(error.message).not.toContain('EVIL');
    return [...told, `${error.code}: ${error.message}`];
  }
}

const lines = (...text: string[]) => text.map((line) => `${line}\r\n`).join('');

interface Case {
  answers: string[];
  commands: string[];
  ends: string | RegExp;
}

const SMTP_COMMANDS = ['EHLO app.example', 'STARTTLS'];
const IMAP_COMMANDS = ['p1 STARTTLS'];
const POP3_COMMANDS = ['STLS'];
const OFFER = lines('250-mail', '250-PIPELINING', '250-STARTTLS', '250 HELP');
const NOT_OFFERED = /^tls: the server does not offer (STARTTLS|STLS), and nothing is sent to it in clear$/;
const REFUSED = /^tls: the server refused (STARTTLS|STLS), and nothing is sent to it in clear$/;
const UNEXPECTED = /^tls: the server gave an unexpected answer to /;
const UNAVAILABLE = /^server_unavailable: /;
const GREETING = /^server_greeting: the server did not greet in /;

const smtp: Record<string, Case> = {
  'the usual': { answers: [lines('220 mail ESMTP'), OFFER, lines('220 go')], commands: SMTP_COMMANDS, ends: 'tls' },
  'several lines everywhere': {
    answers: [lines('220-mail', '220-no spam', '220 ESMTP'), OFFER, lines('220-ready', '220 go')],
    commands: SMTP_COMMANDS,
    ends: 'tls',
  },
  'codes without text, small letters, spaces': {
    answers: [lines('220'), lines('250-mail', '250 starttls  '), lines('220')],
    commands: SMTP_COMMANDS,
    ends: 'tls',
  },
  'the offer removed': {
    answers: [lines('220 mail'), lines('250-mail', '250 HELP')],
    commands: ['EHLO app.example'],
    ends: NOT_OFFERED,
  },
  'the offer masked (Cisco ASA)': {
    answers: [lines('220 ****'), lines('250-mail', '250-XXXXXXXA', '250 8BITMIME')],
    commands: ['EHLO app.example'],
    ends: NOT_OFFERED,
  },
  'a host that is called STARTTLS': {
    answers: [lines('220 mail'), lines('250-STARTTLS', '250 HELP')],
    commands: ['EHLO app.example'],
    ends: NOT_OFFERED,
  },
  'only a host that is called STARTTLS': {
    answers: [lines('220 mail'), lines('250 STARTTLS')],
    commands: ['EHLO app.example'],
    ends: NOT_OFFERED,
  },
  'a longer keyword': {
    answers: [lines('220 mail'), lines('250-mail', '250-STARTTLSX', '250 XSTARTTLS')],
    commands: ['EHLO app.example'],
    ends: NOT_OFFERED,
  },
  'no EHLO': { answers: [lines('220 mail'), lines('502 EVIL')], commands: ['EHLO app.example'], ends: NOT_OFFERED },
  'EHLO later': { answers: [lines('220 mail'), lines('451 EVIL')], commands: ['EHLO app.example'], ends: UNAVAILABLE },
  'EHLO answered with 220': {
    answers: [lines('220 mail'), lines('220 EVIL')],
    commands: ['EHLO app.example'],
    ends: UNEXPECTED,
  },
  'another code within one answer': {
    answers: [lines('220 mail'), lines('250-mail', '250-STARTTLS', '220 EVIL')],
    commands: ['EHLO app.example'],
    ends: UNEXPECTED,
  },
  'no reply at all': {
    answers: [lines('220 mail'), lines('* OK EVIL')],
    commands: ['EHLO app.example'],
    ends: UNEXPECTED,
  },
  '454 to STARTTLS': { answers: [lines('220 m'), OFFER, lines('454 EVIL')], commands: SMTP_COMMANDS, ends: REFUSED },
  '503 to STARTTLS': { answers: [lines('220 m'), OFFER, lines('503 EVIL')], commands: SMTP_COMMANDS, ends: REFUSED },
  '250 to STARTTLS': { answers: [lines('220 m'), OFFER, lines('250 EVIL')], commands: SMTP_COMMANDS, ends: UNEXPECTED },
  '334 to STARTTLS': { answers: [lines('220 m'), OFFER, lines('334 EVIL')], commands: SMTP_COMMANDS, ends: UNEXPECTED },
  '2200 to STARTTLS': { answers: [lines('220 m'), OFFER, lines('2200 go')], commands: SMTP_COMMANDS, ends: UNEXPECTED },
  '421 to STARTTLS': {
    answers: [lines('220 m'), OFFER, lines('421 EVIL')],
    commands: SMTP_COMMANDS,
    ends: UNAVAILABLE,
  },
  '421 to EHLO': {
    answers: [lines('220 m'), lines('421 EVIL')],
    commands: ['EHLO app.example'],
    ends: UNAVAILABLE,
  },
  'greeted with 421': { answers: [lines('421 EVIL')], commands: [], ends: UNAVAILABLE },
  'greeted with 554': { answers: [lines('554 EVIL')], commands: [], ends: /^server_greeting: the server refused/ },
  'greeted with 250': { answers: [lines('250 EVIL')], commands: [], ends: /^server_greeting: the server refused/ },
  'greeted in POP3': { answers: [lines('+OK EVIL')], commands: [], ends: GREETING },
  'a code of four digits': { answers: [lines('2200 EVIL')], commands: [], ends: GREETING },
};

const imap: Record<string, Case> = {
  'no capabilities in the greeting': {
    answers: [lines('* OK ready'), lines('p1 OK go')],
    commands: IMAP_COMMANDS,
    ends: 'tls',
  },
  'capabilities in the greeting': {
    answers: [lines('* OK [CAPABILITY IMAP4rev1 STARTTLS] ready'), lines('p1 OK go')],
    commands: IMAP_COMMANDS,
    ends: 'tls',
  },
  'capabilities in the greeting without it, which nobody has vouched for': {
    answers: [lines('* OK [CAPABILITY IMAP4rev1 ID] ready'), lines('p1 OK go')],
    commands: IMAP_COMMANDS,
    ends: 'tls',
  },
  'small letters, no text': { answers: [lines('* ok'), lines('P1 ok')], commands: IMAP_COMMANDS, ends: 'tls' },
  'a server without it': { answers: [lines('* OK'), lines('p1 BAD EVIL')], commands: IMAP_COMMANDS, ends: NOT_OFFERED },
  'NO to STARTTLS': { answers: [lines('* OK'), lines('p1 NO EVIL')], commands: IMAP_COMMANDS, ends: REFUSED },
  'another tag': { answers: [lines('* OK hi'), lines('p2 OK EVIL')], commands: IMAP_COMMANDS, ends: UNEXPECTED },
  'untagged OK': { answers: [lines('* OK hi'), lines('* OK EVIL')], commands: IMAP_COMMANDS, ends: UNEXPECTED },
  'untagged data before the go-ahead': {
    answers: [lines('* OK hi'), lines('* 1 EXISTS', 'p1 OK EVIL')],
    commands: IMAP_COMMANDS,
    ends: UNEXPECTED,
  },
  'a continuation request': { answers: [lines('* OK'), lines('+ EVIL')], commands: IMAP_COMMANDS, ends: UNEXPECTED },
  'OKAY to STARTTLS': { answers: [lines('* OK'), lines('p1 OKAY')], commands: IMAP_COMMANDS, ends: UNEXPECTED },
  'BADLY to STARTTLS': { answers: [lines('* OK'), lines('p1 BADLY')], commands: IMAP_COMMANDS, ends: UNEXPECTED },
  'BYE to STARTTLS': { answers: [lines('* OK'), lines('* BYE EVIL')], commands: IMAP_COMMANDS, ends: UNAVAILABLE },
  'greeted with BYE': { answers: [lines('* BYE EVIL')], commands: [], ends: UNAVAILABLE },
  'greeted with PREAUTH': {
    answers: [lines('* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] EVIL')],
    commands: [],
    ends: 'tls: the server greeted with PREAUTH, in which no TLS can begin',
  },
  'greeted in SMTP': { answers: [lines('220 EVIL')], commands: [], ends: GREETING },
  'greeted with a tag': { answers: [lines('p1 OK EVIL')], commands: [], ends: GREETING },
};

const pop3: Record<string, Case> = {
  'the usual': { answers: [lines('+OK hi <1@mail>'), lines('+OK go')], commands: POP3_COMMANDS, ends: 'tls' },
  'small letters': { answers: [lines('+ok'), lines('+ok')], commands: POP3_COMMANDS, ends: 'tls' },
  'a server without it': { answers: [lines('+OK'), lines('-ERR EVIL')], commands: POP3_COMMANDS, ends: NOT_OFFERED },
  'a keyword where +OK is due': {
    answers: [lines('+OK hi'), lines('STLS')],
    commands: POP3_COMMANDS,
    ends: UNEXPECTED,
  },
  '+OKAY to STLS': { answers: [lines('+OK'), lines('+OKAY')], commands: POP3_COMMANDS, ends: UNEXPECTED },
  'a continuation to STLS': { answers: [lines('+OK'), lines('+ EVIL')], commands: POP3_COMMANDS, ends: UNEXPECTED },
  'greeted with -ERR': { answers: [lines('-ERR EVIL')], commands: [], ends: UNAVAILABLE },
  'greeted in IMAP': { answers: [lines('* OK EVIL')], commands: [], ends: GREETING },
};

for (const [protocol, cases] of Object.entries({ smtp, imap, pop3 }) as [Protocol, Record<string, Case>][]) {
  describe(protocol, () => {
    for (const [name, { answers, commands, ends }] of Object.entries(cases)) {
      it(name, () => {
        const told = play(protocol, answers, whole);
        expect(told.slice(0, -1)).toEqual(commands);
        expect(told.at(-1)).toMatch(typeof ends === 'string' ? new RegExp(`^${ends}$`) : ends);
        expect(play(protocol, answers, byteByByte)).toEqual(told);
        const longest = Math.max(...answers.map(({ length }) => length));
        for (let at = 1; at < longest; at++) expect(play(protocol, answers, splitAt(at))).toEqual(told);
      });
    }
  });
}

const USUAL: Record<Protocol, string[]> = {
  smtp: [lines('220 mail'), OFFER, lines('220 go')],
  imap: [lines('* OK hi'), lines('p1 OK go')],
  pop3: [lines('+OK hi'), lines('+OK go')],
};
const TOO_EARLY = /^tls: the server sent more than its answer/;

describe('bytes that nobody asked for', () => {
  for (const [protocol, answers] of Object.entries(USUAL) as [Protocol, string[]][]) {
    const last = answers.length - 1;
    const injected = (index: number, text: string) =>
      answers.map((answer, at) => (at === index ? answer + text : answer));

    it(`${protocol}: after the go-ahead, in whatever pieces; its twin without them goes on`, () => {
      for (const text of ['X', '\r\n', lines('250 EVIL'), lines('* OK EVIL')]) {
        const attack = injected(last, text);
        expect(play(protocol, attack, whole).at(-1)).toMatch(TOO_EARLY);
        expect(play(protocol, attack, byteByByte).at(-1)).toMatch(TOO_EARLY);
        for (let at = 1; at < (attack[last] ?? '').length; at++) {
          expect(play(protocol, attack, splitAt(at)).at(-1)).toMatch(TOO_EARLY);
        }
      }
      expect(play(protocol, answers, whole).at(-1)).toBe('tls');
    });

    it(`${protocol}: before the next command is out`, () => {
      for (let index = 0; index < last; index++) {
        const told = play(protocol, injected(index, answers[index + 1] ?? ''), whole);
        expect(told).toHaveLength(index + 1);
        expect(told.at(-1)).toMatch(TOO_EARLY);
      }
    });

    it(`${protocol}: a go-ahead for all in the greeting's own read`, () => {
      expect(play(protocol, [answers.join('')], whole)).toEqual([expect.stringMatching(TOO_EARLY)]);
    });
  }
});

describe('lines', () => {
  it('end with CRLF and hold no CR and no NUL; the twin does', () => {
    for (const bad of ['250-mail\n', '250-ma\ril\r\n', '250-ma\0il\r\n', '250-mail\r\r\n']) {
      const answers = [lines('220 m'), `${bad}250 STARTTLS\r\n`];
      expect(play('smtp', answers, whole).at(-1)).toMatch(/^protocol: .*CRLF$/);
      expect(play('smtp', answers, byteByByte).at(-1)).toMatch(/^protocol: .*CRLF$/);
    }
    expect(play('smtp', ['220 m\n'], whole).at(-1)).toMatch(/^server_greeting: .*CRLF$/);
    expect(play('smtp', [lines('220 m'), lines('250-mail', '250 STARTTLS')], whole).at(-1)).toBe('waits');
  });

  it('have at most 8,192 octets, also unfinished ones; the longest is read', () => {
    const line = (length: number) => `220 ${'x'.repeat(length - 5)}\r`;
    expect(play('smtp', [`${line(8192)}\n`], whole)).toEqual(['EHLO app.example', 'waits']);
    expect(play('smtp', [`${line(8193)}\n`], whole)).toEqual([expect.stringMatching(/^limit: /)]);
    expect(play('smtp', [`220 ${'x'.repeat(8188)}`], byteByByte)).toEqual(['waits']);
    expect(play('smtp', [`220 ${'x'.repeat(8189)}`], byteByByte)).toEqual([expect.stringMatching(/^limit: /)]);
  });

  it('are at most 256; as many are read', () => {
    const greeting = (count: number) => lines(...Array<string>(count - 1).fill('220-x'), '220 x');
    expect(play('smtp', [greeting(256)], whole)).toEqual(['EHLO app.example', 'waits']);
    expect(play('smtp', [greeting(257)], whole)).toEqual([expect.stringMatching(/^limit: .*256 lines/)]);
    const keywords = Array<string>(300).fill('250-STARTTLS');
    expect(play('smtp', [lines('220 m'), lines(...keywords, '250 X')], whole).at(-1)).toMatch(/^limit: /);
  });
});

it('refuses a name for EHLO that would end the line', () => {
  expect(() => new Negotiation('smtp', 'a\r\nSTARTTLS')).toThrow(Failure);
  expect(() => new Negotiation('smtp', '')).toThrow(Failure);
  expect(() => new Negotiation('smtp', '[127.0.0.1]')).not.toThrow();
});

it('tells an end of stream and a deadline by what has come', () => {
  const negotiation = new Negotiation('imap', '');
  expect([negotiation.closed().code, negotiation.late(1).code]).toEqual(['server_greeting', 'server_greeting']);
  negotiation.push(Buffer.from('* OK hi\r\n'));
  expect([negotiation.closed().code, negotiation.late(1).code]).toEqual(['server_unavailable', 'tls']);
});
