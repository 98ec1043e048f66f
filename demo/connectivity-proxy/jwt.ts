import { type JWTVerifyGetKey, jwtVerify } from 'jose';

export interface JwtOptions {
  /** The keys of the token service: jose's createLocalJWKSet or createRemoteJWKSet. */
  keys: JWTVerifyGetKey;
  /** What tokens must be for. */
  audience: string;
  issuer?: string;
}

/** XSUAA signs so; anything else, `none` and shared secrets above all, is refused. */
const ALGORITHMS = ['RS256', 'ES256'];

/**
 * What `tokens.verify` of the Connectivity Proxy simulator needs: checks signature, audience, expiry and, if given, issuer.
 * @returns the tenant: the claim `zid` (identity zone), as XSUAA's tokens have it
 * @throws Error (the promise rejects) where a check fails or the tenant is missing
 */
export function jwtVerifier({ keys, ...expected }: JwtOptions): (jwt: string) => Promise<string> {
  return async (jwt) => {
    const { payload } = await jwtVerify(jwt, keys, {
      ...expected,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'zid'],
    });
    if (typeof payload.zid !== 'string' || payload.zid === '') throw new Error('the token names no tenant');
    return payload.zid;
  };
}
