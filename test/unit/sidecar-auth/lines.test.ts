import { expect, it } from 'vitest';
import { decodeLines, encodeLines, type Line } from '../../../sidecar-auth/contract/lines.ts';

it('reads what it writes, repeated keys in order', () => {
  const lines: Line[] = [
    ['plain', '\0jane\0gehéim'],
    ['address', 'a'],
    ['address', 'b'],
    ['empty', ''],
  ];
  expect(decodeLines(encodeLines(lines))).toEqual(
    new Map([
      ['plain', ['\0jane\0gehéim']],
      ['address', ['a', 'b']],
      ['empty', ['']],
    ]),
  );
  expect(encodeLines([['key', 'value']])).toBe('key: dmFsdWU=\n');
  expect(decodeLines('')).toEqual(new Map());
});

it.each([
  'key: dmFsdWU=',
  'key: dmFsdWU\n',
  'key: dmFsdWV=\n', // trailing bits set
  'key:dmFsdWU=\n',
  'key:  dmFsdWU=\n',
  'Key: dmFsdWU=\n',
  ': dmFsdWU=\n',
  'key: dmFs dWU=\n',
  'key: dmFsdWU=\r\n',
  'key: _-==\n',
  'key: a=bc\n',
  'good: \n\n',
  'good: dmFsdWU=\nbad\n',
])('refuses the whole body %j', (body) => expect(decodeLines(body)).toBeUndefined());
