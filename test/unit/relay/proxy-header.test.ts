import { describe, expect, it } from 'vitest';
import { readProxyHeader } from '../../../sidecar-auth/relay/proxy-header.ts';
import { fixed, proxyHeader, tlv } from './world.ts';

const ROUTE = 'smtp-0123456789abcdef';

/** Captured from Envoy 1.40.0: TCP listeners on 127.0.0.1 and ::1, upstream_proxy_protocol with the TLV of docs/contract.md. */
const ENVOY = {
  TCP4: '0d0a0d0a000d0a515549540a211100247f0000017f000001c884727fe00015736d74702d30313233343536373839616263646566',
  TCP6:
    '0d0a0d0a000d0a515549540a2121003c0000000000000000000000000000000100000000000000000000000000000001eb307280' +
    'e00015736d74702d30313233343536373839616263646566',
};

describe('the header as Envoy writes it', () => {
  for (const [family, hex] of Object.entries(ENVOY)) {
    const header = Buffer.from(hex, 'hex');
    it(`${family}, whole and with the app's bytes behind it`, () => {
      const expected = { length: header.length, routeId: ROUTE };
      expect(readProxyHeader(header)).toEqual(expected);
      expect(readProxyHeader(Buffer.concat([header, Buffer.from('EHLO x\r\n')]))).toEqual(expected);
    });
    it(`${family}, incomplete at every offset`, () => {
      for (let end = 0; end < header.length; end++) expect(readProxyHeader(header.subarray(0, end))).toBe('incomplete');
    });
  }
});

describe('what else is tolerated', () => {
  const route = tlv(0xe0, ROUTE);
  const cases: Record<string, [Buffer, string | undefined]> = {
    'UNIX addresses': [fixed(0x21, 0x31, Buffer.concat([Buffer.alloc(216), route])), ROUTE],
    'AF_UNSPEC, which has no addresses': [fixed(0x21, 0x00, route), ROUTE],
    'other TLVs around it': [proxyHeader([4, ''], [0xe0, ROUTE], [0xea, 'x']), ROUTE],
    'a route id of 64': [proxyHeader([0xe0, 'a'.repeat(64)]), 'a'.repeat(64)],
    LOCAL: [fixed(0x20, 0x00, route), undefined],
    'LOCAL with a body of no form at all': [fixed(0x20, 0x11, Buffer.from('abc')), undefined],
    'an unknown family': [fixed(0x21, 0x41, Buffer.from('whatever')), undefined],
    'no TLV': [proxyHeader(), undefined],
    'Envoy without a route': [proxyHeader([0xe0, '-']), undefined],
    'an empty route id': [proxyHeader([0xe0, '']), undefined],
    'a route id of 65': [proxyHeader([0xe0, 'a'.repeat(65)]), undefined],
    'a route id with a line end': [proxyHeader([0xe0, `${ROUTE}\n`]), undefined],
    'the longest header': [proxyHeader([4, 'x'.repeat(1024 - 12 - 3 - 24)], [0xe0, ROUTE]), ROUTE],
  };
  for (const [name, [header, routeId]] of Object.entries(cases)) {
    it(name, () => expect(readProxyHeader(header)).toEqual({ length: header.length, routeId }));
  }
});

describe('what is malformed', () => {
  const cases: Record<string, Buffer> = {
    'a mail command instead': Buffer.from('EHLO x\r\n'),
    'the first wrong byte already': Buffer.from([0x0d, 0x0a, 0x0d, 0x0b]),
    'version 1 of the protocol': Buffer.from('PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n'),
    'version 3': fixed(0x31, 0x11, Buffer.alloc(12)),
    'command 2': fixed(0x22, 0x11, Buffer.alloc(12)),
    'a header longer than the limit, before it is all there': fixed(0x21, 0x11, Buffer.alloc(1025)).subarray(0, 16),
    'addresses cut short': fixed(0x21, 0x11, Buffer.alloc(11)),
    'UNIX addresses cut short': fixed(0x21, 0x31, Buffer.alloc(215)),
    'a TLV longer than the rest': fixed(0x21, 0x00, Buffer.from([0xe0, 0, 9, 65])),
    'a TLV without its length': fixed(0x21, 0x00, Buffer.from([0xe0, 0])),
    'two route ids': proxyHeader([0xe0, ROUTE], [0xe0, ROUTE]),
  };
  for (const [name, header] of Object.entries(cases)) {
    it(name, () => expect(readProxyHeader(header)).toBe('malformed'));
  }
});
