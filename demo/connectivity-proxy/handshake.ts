/** The wire format of the Connectivity Proxy's SOCKS5 side (RFC 1928 and SAP's method 0x80), as pure functions over bytes. */

export const METHOD_NONE = 0x00;
export const METHOD_JWT = 0x80;
export const METHOD_UNACCEPTABLE = 0xff;

/** SAP's table of reply codes ("Using the TCP Protocol for Cloud Applications", troubleshooting). 6 is "not used". */
export const REPLY = {
  success: 0,
  failure: 1,
  forbidden: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  authentication: 5,
  command: 7,
  addressType: 8,
} as const;

/** A token of more octets than this is no token. */
const JWT_LIMIT = 65_536;

/** A message taken off the front of the bytes, with its length; undefined: more bytes are needed. */
export type Read<T> = { length: number; message: T } | undefined;

/** The bytes are not what the protocol says: `answer` is sent (none: nothing), then the connection is closed. */
export class Refusal extends Error {
  readonly answer: Buffer;

  constructor(answer: Buffer) {
    super('refused');
    this.answer = answer;
  }
}

const NOTHING = Buffer.alloc(0);
export const AUTHENTICATION_FAILED = Buffer.from([1, 1]);
export const AUTHENTICATION_SUCCEEDED = Buffer.from([1, 0]);

/** A reply with an unspecified bound address, which SAP's own client skips. */
export function reply(code: number): Buffer {
  return Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}

/** RFC 1928 section 3: 05, number of methods, methods. Another version is not answered: what would one say to it? */
export function readGreeting(bytes: Buffer): Read<number[]> {
  const [version, count] = bytes;
  if (version !== undefined && version !== 5) throw new Refusal(NOTHING);
  if (count === 0) throw new Refusal(Buffer.from([5, METHOD_UNACCEPTABLE]));
  if (count === undefined || bytes.length < 2 + count) return undefined;
  return { length: 2 + count, message: [...bytes.subarray(2, 2 + count)] };
}

export interface Authentication {
  jwt: string;
  /** Decoded; empty where none was sent. */
  location: string;
}

/** SAP's request: 01, 4 octets of length, token, 1 octet of length, location id in base64 form. */
export function readAuthentication(bytes: Buffer): Read<Authentication> {
  if (bytes.length > 0 && bytes.readUInt8(0) !== 1) throw new Refusal(AUTHENTICATION_FAILED);
  if (bytes.length < 5) return undefined;
  const idAt = 5 + bytes.readUInt32BE(1);
  if (idAt > 5 + JWT_LIMIT) throw new Refusal(AUTHENTICATION_FAILED);
  if (bytes.length <= idAt) return undefined;
  const length = idAt + 1 + bytes.readUInt8(idAt);
  if (bytes.length < length) return undefined;
  const location = decodeBase64(bytes.toString('latin1', idAt + 1, length));
  return { length, message: { jwt: bytes.toString('latin1', 5, idAt), location } };
}

/** Node's decoder skips what it does not know, so the text is compared with what it should have been. */
function decodeBase64(text: string): string {
  const decoded = Buffer.from(text, 'base64');
  if (decoded.toString('base64') !== text) throw new Refusal(AUTHENTICATION_FAILED);
  return decoded.toString('utf8');
}

export interface Request {
  host: string;
  port: number;
}

/** RFC 1928 section 4: 05, command, 00, address type, address, port. CONNECT with a domain name or IPv4 only. */
export function readRequest(bytes: Buffer): Read<Request> {
  const [version, command, reserved, type] = bytes;
  refuseUnless(version === undefined || version === 5, REPLY.failure);
  refuseUnless(command === undefined || command === 1, REPLY.command);
  refuseUnless(reserved === undefined || reserved === 0, REPLY.failure);
  refuseUnless(type === undefined || type === 1 || type === 3, REPLY.addressType);
  if (type === undefined) return undefined;
  return type === 1 ? readIpv4(bytes) : readDomain(bytes);
}

function readIpv4(bytes: Buffer): Read<Request> {
  if (bytes.length < 10) return undefined;
  return { length: 10, message: { host: bytes.subarray(4, 8).join('.'), port: readPort(bytes, 8) } };
}

function readDomain(bytes: Buffer): Read<Request> {
  const octets = bytes[4];
  refuseUnless(octets !== 0, REPLY.failure);
  if (octets === undefined || bytes.length < 7 + octets) return undefined;
  const host = bytes.toString('latin1', 5, 5 + octets);
  refuseUnless(/^[\x21-\x7e]+$/.test(host), REPLY.failure);
  return { length: 7 + octets, message: { host, port: readPort(bytes, 5 + octets) } };
}

function readPort(bytes: Buffer, at: number): number {
  const port = bytes.readUInt16BE(at);
  refuseUnless(port !== 0, REPLY.failure);
  return port;
}

function refuseUnless(right: boolean, code: number): void {
  if (!right) throw new Refusal(reply(code));
}
