import { Failure } from '../failure.ts';

/** What a service binding of the Destination or Connectivity service holds of interest here. */
export interface Binding {
  clientid: string;
  /** One of the two: a secret, or a certificate with its key (PEM texts) for mutual TLS at the token endpoint. */
  clientsecret?: string;
  certificate?: { cert: string; key: string };
  /**
   * The authorization server's base address (`certurl` with a certificate, else `url`); the token endpoint is
   * `oauth/token` below it.
   */
  url: string;
  /** The provider's own subdomain in that address, where the binding tells it. */
  identityzone?: string;
  /** The service's own address; the Connectivity service has none. */
  uri?: string;
}

/** Reads the values of a binding, however they were found. Throws a Failure of code `token` that quotes no value. */
export function toBinding(given: Record<string, unknown>): Binding {
  const values = { ...object(given.uaa), ...given, ...object(given.credentials) };
  const certificate = readCertificate(values);
  return {
    clientid: required(values, 'clientid'),
    ...(certificate ? { certificate } : { clientsecret: required(values, 'clientsecret') }),
    url: required(values, certificate && text(values, 'certurl') ? 'certurl' : 'url'),
    ...optional(values, 'identityzone'),
    ...optional(values, 'uri'),
  };
}

/** A secret wins where there are both: it needs no renewal of certificates. */
function readCertificate(values: Record<string, unknown>): Binding['certificate'] {
  if (text(values, 'clientsecret') !== undefined || !('certificate' in values)) return undefined;
  return { cert: required(values, 'certificate'), key: required(values, 'key') };
}

/** An object, or its JSON text: a folder of files may hold one in a file. */
export function object(value: unknown): Record<string, unknown> | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  return typeof value === 'string' && value.trimStart().startsWith('{') ? parseObject(value) : undefined;
}

/**
 * Undefined where `text` is not a JSON object. The parser's own error quotes what it found, which may be the secret.
 */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return object(JSON.parse(text)) ?? {};
  } catch {
    return undefined;
  }
}

function text(values: Record<string, unknown>, key: string): string | undefined {
  const value = values[key];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function required(values: Record<string, unknown>, key: string): string {
  const value = text(values, key);
  if (value === undefined) throw new Failure('token', `the service binding has no ${key}`, { retry: false });
  return value;
}

function optional<K extends string>(values: Record<string, unknown>, key: K): { [P in K]?: string } {
  const value = text(values, key);
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
}
