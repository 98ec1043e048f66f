import { PROXY_HEADER_LIMIT } from './limits.ts';

/** PROXY protocol version 2, section 2.2 of https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt */
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED = 16;
const VERSION = 2;
const LOCAL = 0;
const PROXY = 1;

/** Octets of both addresses by address family: AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX. */
const ADDRESS_LENGTH = [0, 12, 36, 216];

/** PP2_TYPE_MIN_CUSTOM: the route id (docs/contract.md). */
const TLV_ROUTE = 0xe0;

/** docs/contract.md; Envoy writes `-` where there is no route. */
const ROUTE_ID = /^(?!-$)[A-Za-z0-9_-]{1,64}$/;

export interface ProxyHeader {
  /** Octets of the whole header; what follows it are the app's. */
  length: number;
  /** Missing: LOCAL, an unknown family (its TLVs can't be found), no TLV, `-` or not in the form of a route id. */
  routeId: string | undefined;
}

/** Reads the header at the start of `bytes`, all bytes received so far. Never looks further than the limit. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | 'incomplete' | 'malformed' {
  const begin = bytes.subarray(0, SIGNATURE.length);
  if (!begin.equals(SIGNATURE.subarray(0, begin.length))) return 'malformed';
  if (bytes.length < FIXED) return 'incomplete';
  const version = bytes.readUInt8(12) >> 4;
  const command = bytes.readUInt8(12) & 0x0f;
  const rest = bytes.readUInt16BE(14);
  if (version !== VERSION || command > PROXY || rest > PROXY_HEADER_LIMIT) return 'malformed';
  const length = FIXED + rest;
  if (bytes.length < length) return 'incomplete';
  if (command === LOCAL) return { length, routeId: undefined };
  return readAddressesAndTlvs(bytes.readUInt8(13) >> 4, bytes.subarray(FIXED, length), length);
}

function readAddressesAndTlvs(family: number, body: Buffer, length: number): ProxyHeader | 'malformed' {
  const addresses = ADDRESS_LENGTH[family];
  if (addresses === undefined) return { length, routeId: undefined };
  if (body.length < addresses) return 'malformed';
  const route = readRoute(body.subarray(addresses));
  if (route === 'malformed') return 'malformed';
  const text = route?.toString('latin1') ?? '';
  return { length, routeId: ROUTE_ID.test(text) ? text : undefined };
}

/** The value of the one TLV that holds the route id; two of them would be two opinions. */
function readRoute(tlvs: Buffer): Buffer | undefined | 'malformed' {
  let route: Buffer | undefined;
  for (let at = 0; at < tlvs.length; ) {
    if (at + 3 > tlvs.length) return 'malformed';
    const end = at + 3 + tlvs.readUInt16BE(at + 1);
    if (end > tlvs.length) return 'malformed';
    if (tlvs.readUInt8(at) === TLV_ROUTE) {
      if (route) return 'malformed';
      route = tlvs.subarray(at + 3, end);
    }
    at = end;
  }
  return route;
}
