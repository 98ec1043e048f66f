/** An OAuth 2.0 access token for a mail server. */
export interface AccessToken {
  /** As the server takes it: printable ASCII without spaces, at most 16 KiB. */
  value: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

/**
 * Where the access tokens of one destination come from: its own flows at its token service (files), or the Destination service. All methods
 * throw Failure('token', …) with a text for people; `retry` says whether trying again can help. One request is in flight per key, tokens are kept until shortly before they
 * expire, and refusals of the token service are kept for a few seconds.
 */
export interface TokenIssuer {
  /**
   * For an app that brings nothing: client credentials, or a grant that `postern login` (or refreshTokenFile) stored for this very
   * destination. Absent where there is none.
   */
  silent?: () => Promise<AccessToken>;
  /** For an app that brings its refresh token or authorization code, and the user that it names. Absent for client credentials. */
  exchange?: (user: string, presented: string) => Promise<AccessToken>;
  /** The mail server refused this access token: it is not handed out again. */
  refused: (value: string) => void;
}
