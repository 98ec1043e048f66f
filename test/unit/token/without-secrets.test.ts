import { expect, it } from 'vitest';
import { withoutSecrets } from '../../../sidecar-auth/token/without-secrets.ts';

const SECRET = 'ge heim"/+ü(\\é';
const form = new URLSearchParams({ client_secret: SECRET }).toString();
const base64 = (text: string) => Buffer.from(text).toString('base64');

it.each([
  ['as it is', `x ${SECRET} y`, 'x *** y'],
  ['in a form', `${form}&a=b`, 'client_secret=***&a=b'],
  ['in a form with %20', `s=${form.slice(14).replaceAll('+', '%20')}&`, 's=***&'],
  ['in a form, in lower case', form.replace(/%../g, (octet) => octet.toLowerCase()), 'client_secret=***'],
  ['percent-encoded', `x ${encodeURIComponent(SECRET)} y`, 'x *** y'],
  ['in JSON', JSON.stringify({ secret: SECRET }), '{"secret":"***"}'],
  ['in JSON of PHP', JSON.stringify({ secret: SECRET }).replaceAll('/', '\\/'), '{"secret":"***"}'],
  ['in JSON of ASCII', JSON.stringify(SECRET).replace('ü', '\\u00fc').replace('é', '\\u00e9'), '"***"'],
  ['in Basic', `authorization: Basic ${base64(`client:${SECRET}`)}!`, 'authorization: Basic ***!'],
  ['in Basic of RFC 6749', `Basic ${base64(`client:${form.slice(14)}`)}`, 'Basic ***'],
  ['in base64url', `"${Buffer.from(`a:${SECRET}`).toString('base64url')}"`, '"***"'],
  [
    'in Basic in a form',
    `h=${new URLSearchParams({ h: `Basic ${base64(`cl:${SECRET}`)}` }).toString()}&x`,
    'h=h=***&x',
  ],
  ['twice', `${SECRET}, ${SECRET}`, '***, ***'],
])('%s', (_, text, expected) => {
  expect(withoutSecrets(text, [SECRET])).toBe(expected);
});

it('masks all of a secret that begins with another', () => {
  expect(withoutSecrets('abcdef abc', ['abc', '', 'abcdef'])).toBe('*** ***');
});

it('leaves everything else', () => {
  const text = `AADSTS70008: expired ${base64('client:another')} client_secret=other%2B {"a":"b\\/c"} https://a.example/b`;
  expect(withoutSecrets(text, [SECRET, ''])).toBe(text);
  expect(withoutSecrets(text, [])).toBe(text);
});
