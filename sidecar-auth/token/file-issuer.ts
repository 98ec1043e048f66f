import { createHash } from 'node:crypto';
import type { Destination } from '../destination/destination.ts';
import type { Login } from '../destination/login.ts';
import type { TokenService } from '../destination/token-service.ts';
import { Failure } from '../failure.ts';
import { timed, tokenRequest } from '../observe/counted.ts';
import type { TokenCache } from './cache.ts';
import { tokenEndpoint } from './endpoint.ts';
import type { GrantOwner, Grants, Issue, Kept } from './grants/grants.ts';
import type { AccessToken, TokenIssuer } from './issuer.ts';
import { type ClientOptions, InvalidGrant, type IssuedTokens, TokenClient } from './request.ts';

export interface IssuerDeps {
  /** Both live as long as the process, and are shared by all destinations. */
  cache: TokenCache;
  grants: Grants;
  /** PEM text of every CA that is trusted. Absent: the system's. */
  ca?: string;
  /** Shared by all destinations without a client certificate of their own. */
  fetch?: typeof fetch;
  /** Of the listener: keeps the grants and tokens of subscribers apart. */
  tenant?: string;
  /** Of the listener: the tenant in the URL where tokenServiceURLType is Common. */
  tokenServiceTenant?: string;
  /** Of the listener: what belongs to the authorization codes that its apps present. */
  redirectUri?: string;
  codeVerifier?: string;
}

type OAuth = Login & { kind: 'oauth' };

/** Runs a destination's own OAuth flows at its tokenServiceURL. Cheap to make: what must live on is in `deps`. */
export function fileIssuer(destination: Destination, deps: IssuerDeps): TokenIssuer {
  const { login } = destination;
  if (login.kind !== 'oauth') return { refused: () => {} };
  const flows = new Flows(destination, login, deps);
  const refused = (value: string) => flows.refused(value);
  if (login.grant === 'client_credentials') return { silent: () => flows.clientCredentials(), refused };
  const silent = flows.stored();
  return { ...(silent && { silent }), exchange: (user, presented) => flows.exchange(user, presented), refused };
}

class Flows {
  readonly #destination: Destination;
  readonly #login: OAuth;
  readonly #deps: IssuerDeps;

  constructor(destination: Destination, login: OAuth, deps: IssuerDeps) {
    this.#destination = destination;
    this.#login = login;
    this.#deps = deps;
  }

  refused(value: string): void {
    this.#deps.cache.refused(value);
    this.#deps.grants.refused(value);
  }

  clientCredentials(): Promise<AccessToken> {
    return this.#cached(['client'], async () => access(await this.#client().clientCredentials()));
  }

  exchange(user: string, presented: string): Promise<AccessToken> {
    return this.#cached(['exchange', user, hash(presented)], async () =>
      access(await this.#deps.grants.presented(this.#owner(user), presented, (last) => this.#next(last, presented))),
    );
  }

  /** For an app that brings nothing: refreshTokenFile, else a grant of `postern login`. */
  stored(): (() => Promise<AccessToken>) | undefined {
    const { user, token } = this.#login;
    if (user === undefined) return undefined;
    const { refreshToken } = token;
    if (refreshToken !== undefined) return () => this.exchange(user, refreshToken);
    const owner = this.#owner(user);
    if (!this.#deps.grants.hasLogin(owner)) return undefined;
    return () =>
      this.#cached(['login', user], async () => access(await this.#deps.grants.login(owner, this.#loginNext)));
  }

  /** What follows the last tokens of a presented code or refresh token. */
  async #next(last: Kept | undefined, presented: string): Promise<IssuedTokens> {
    if (this.#login.grant === 'refresh_token')
      return follow(last, await this.#client().refresh(last?.refreshToken ?? presented), presented);
    if (!last) return await this.#redeem(presented);
    if (last.refreshToken !== undefined) return follow(last, await this.#client().refresh(last.refreshToken));
    throw new Failure('token', SPENT, { retry: false });
  }

  async #redeem(code: string): Promise<IssuedTokens> {
    const { redirectUri = this.#login.token.redirectUri, codeVerifier = this.#login.token.codeVerifier } = this.#deps;
    return await this.#client().redeem(code, redirectUri, codeVerifier);
  }

  readonly #loginNext: Issue = async (last) => {
    if (last?.refreshToken === undefined) throw new Failure('token', `there is no grant: ${AGAIN}`, { retry: false });
    try {
      return follow(last, await this.#client().refresh(last.refreshToken));
    } catch (error) {
      if (!(error instanceof InvalidGrant)) throw error;
      throw new InvalidGrant('token', `${error.message}: ${AGAIN}`, { retry: false });
    }
  };

  /** @param kind begins with a word of its own, so that nothing an app says can name another's token */
  #cached(kind: string[], issue: () => Promise<AccessToken>): Promise<AccessToken> {
    const { tenant, tokenServiceTenant, redirectUri, codeVerifier, cache } = this.#deps;
    const { name, login } = this.#destination;
    const listener = [tenant, tokenServiceTenant, redirectUri, codeVerifier];
    const asked = () => tokenRequest('destination', name, () => timed('token', name, issue));
    return cache.get(hash(JSON.stringify([kind, listener, name, login])), asked);
  }

  #owner(user: string): GrantOwner {
    return ownerOf(this.#destination.name, this.#login.token, user, this.#deps);
  }

  #endpoint(): URL {
    return tokenEndpoint(this.#login.token, this.#deps.tokenServiceTenant);
  }

  #client(): TokenClient {
    return tokenClient(this.#login.token, this.#endpoint(), this.#deps);
  }
}

const SPENT = 'the authorization code is used up, and no refresh token came with it: present a new one';
const AGAIN = 'run "postern login" again';

/**
 * Whose grants those of a destination are.
 * @throws Failure token where the tenant does not fit
 */
export function ownerOf(
  destination: string,
  service: TokenService,
  user: string,
  { tenant, tokenServiceTenant }: Pick<IssuerDeps, 'tenant' | 'tokenServiceTenant'>,
): GrantOwner {
  return {
    ...(tenant !== undefined && { tenant }),
    destination,
    user,
    tokenServiceURL: tokenEndpoint(service, tokenServiceTenant).href,
    clientId: service.clientId,
  };
}

/** One per token service and tenant, as long as its destination is configured: it keeps connections and what it learned. */
const clients = new WeakMap<TokenService, Map<string, TokenClient>>();

/** The client of a token service. */
export function tokenClient(service: TokenService, endpoint: URL, options: ClientOptions): TokenClient {
  const ofService = clients.get(service) ?? new Map<string, TokenClient>();
  clients.set(service, ofService);
  const client = ofService.get(endpoint.href) ?? new TokenClient(service, endpoint, options);
  ofService.set(endpoint.href, client);
  return client;
}

/** RFC 6749 section 6: without a new refresh token the old one stays in force. */
export function follow(last: Kept | undefined, issued: IssuedTokens, presented?: string): IssuedTokens {
  const refreshToken = issued.refreshToken ?? last?.refreshToken ?? presented;
  return { ...issued, ...(refreshToken !== undefined && { refreshToken }) };
}

function access({ accessToken, expiresAt }: IssuedTokens): AccessToken {
  return { value: accessToken, expiresAt };
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
