import { createHash } from 'node:crypto';
import type { KoaContextWithOIDC } from 'oidc-provider';

/** An access token that the token endpoint issued. */
export interface IssuedToken {
  /** `grant_type` of the request. */
  grant: string;
  /** As tokenId() has it. */
  tokenId: string;
  client: string;
  /** Whose mailbox it opens. */
  user: string;
  audience: string;
}

/** A token request that was refused. */
export interface RefusedRequest {
  grant: string;
  client: string;
  /** RFC 6749 section 5.2. */
  error: string;
}

/** A resource server has asked whether a token is good (RFC 7662). */
export interface TokenCheck {
  tokenId: string;
  /** Client id of the resource server. */
  by: string;
  active: boolean;
}

/** What the provider did, oldest first. Tokens stand in it by tokenId only. */
export class Witness {
  readonly log: IssuedToken[] = [];
  readonly refusals: RefusedRequest[] = [];
  readonly checks: TokenCheck[] = [];

  /** Koa middleware around the provider's own. */
  async see(ctx: KoaContextWithOIDC, next: () => Promise<unknown>): Promise<void> {
    await next();
    if (ctx.oidc?.route === 'token') this.#seeToken(ctx);
    if (ctx.oidc?.route === 'introspection') this.#seeCheck(ctx);
  }

  #seeToken({ oidc, status, body }: KoaContextWithOIDC): void {
    const answer = body as Record<string, string>;
    const grant = `${oidc.params?.grant_type}`;
    const client = `${oidc.client?.clientId ?? oidc.params?.client_id}`;
    if (status !== 200) this.refusals.push({ grant, client, error: `${answer.error}` });
    else this.log.push({ grant, tokenId: tokenId(`${answer.access_token}`), client, ...holder(oidc.entities) });
  }

  #seeCheck({ oidc, body }: KoaContextWithOIDC): void {
    const { active } = body as { active?: boolean };
    const token = `${oidc.params?.token}`;
    this.checks.push({ tokenId: tokenId(token), by: `${oidc.client?.clientId}`, active: active === true });
  }
}

/** The beginning of a token's SHA-256: tells tokens apart and opens nothing. */
export function tokenId(token: string): string {
  return createHash('sha256').update(token).digest('base64url').slice(0, 16);
}

function holder({ AccessToken, ClientCredentials }: KoaContextWithOIDC['oidc']['entities']) {
  const token = AccessToken ?? ClientCredentials;
  return { user: `${token?.extra?.username}`, audience: `${token?.aud}` };
}
