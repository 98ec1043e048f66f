/** An answer that is not 200. */
export class Refusal extends Error {
  readonly status: number;
  readonly body: object;
  readonly headers: Record<string, string>;

  constructor(status: number, body: object, headers: Record<string, string> = {}) {
    super(`${status}`);
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** The Destination service's form of an error: SAP's own clients read `ErrorMessage`. */
export function refuse(status: number, message: string, headers: Record<string, string> = {}): Refusal {
  return new Refusal(status, { ErrorMessage: message }, headers);
}

/** XSUAA's form (RFC 6749 section 5.2). */
export function refuseGrant(
  status: number,
  error: string,
  description: string,
  headers: Record<string, string> = {},
): Refusal {
  return new Refusal(status, { error, error_description: description }, headers);
}
